//! Opening and reading files: answered at once where a file is open, else when it is here.
//!
//! A file may take its time over the network. So a question that wants a new one goes to a thread of its own kind, and those that answer look-ups go on.
//! Those of one file wait together. Whoever no longer wants them answered says [`Reader::stop`], and nobody waits any more, whatever the network does.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::{Errno, FileHandle, FopenFlags, ReplyData, ReplyOpen};
use shiplap_cache::{Contents, LayerId, Piece, TreePath};

use super::recent::Recent;

/// How many files are waited for at once.
const WAITING: usize = 16;

/// How many files stay open: far fewer than a process may have, whatever the step does.
const OPEN: usize = 64;

/// A regular file of a tree.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) number: u64,
    pub(super) layer: LayerId,
    pub(super) path: TreePath,
    pub(super) size: u64,
}

/// What the kernel asks of a file.
#[derive(Debug)]
pub(super) enum Question {
    /// To open it, which waits until it is here.
    Open(ReplyOpen),
    /// So many bytes from there on.
    Read { offset: u64, size: u32, reply: ReplyData },
}

impl Question {
    fn refuse(self) {
        match self {
            Self::Open(reply) => reply.error(Errno::EIO),
            Self::Read { reply, .. } => reply.error(Errno::EIO),
        }
    }
}

/// Answers what is asked of regular files.
pub(super) struct Reader {
    contents: Arc<dyn Contents>,
    open: Recent<Piece>,
    state: Mutex<State>,
    broken: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct State {
    /// The files that somebody waits for.
    waiting: HashMap<u64, Vec<Question>>,
    /// Where these are given to a thread; none when no more are.
    work: Option<Sender<Place>>,
    failure: Option<(TreePath, Arc<io::Error>)>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("contents", &self.contents).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn start(contents: Arc<dyn Contents>, broken: Box<dyn Fn() + Send + Sync>) -> io::Result<Arc<Self>> {
        let (work, works) = channel();
        let state = Mutex::new(State { work: Some(work), ..State::default() });
        let reader = Arc::new(Self { contents, open: Recent::new(OPEN), state, broken });
        let works = Arc::new(Mutex::new(works));
        for _ in 0..WAITING {
            let (reader, works) = (reader.clone(), works.clone());
            // Not joined: one that waits for the network ends when that has answered.
            let thread = std::thread::Builder::new().name("served-file".to_owned());
            let waiter = reader.clone();
            if let Err(error) = thread.spawn(move || waiter.work(&works)) {
                reader.stop();
                return Err(error);
            }
        }
        Ok(reader)
    }

    /// Answers a question, now or later.
    pub(super) fn ask(&self, place: Place, question: Question) {
        if let Some(file) = self.open.get(place.number) {
            return self.answer(&place, &file, question);
        }
        let mut state = self.state();
        let Some(work) = &state.work else { return question.refuse() };
        let work = work.clone();
        let waiting = state.waiting.entry(place.number).or_default();
        waiting.push(question);
        if waiting.len() == 1 {
            // Nobody takes it when there are no threads, and then there was `stop`.
            let _ = work.send(place);
        }
    }

    /// Refuses what waits and what is to come.
    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.work = None;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_values().flatten().for_each(Question::refuse);
    }

    pub(super) fn failure(&self) -> Option<(TreePath, Arc<io::Error>)> {
        self.state().failure.clone()
    }

    /// The life of a thread that waits for files.
    fn work(&self, works: &Mutex<Receiver<Place>>) {
        loop {
            let next = works.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let Ok(place) = next else { return };
            if !self.state().waiting.contains_key(&place.number) {
                continue;
            }
            match self.contents.open(&place.layer, &place.path) {
                Ok(file) => {
                    let file = self.open.put(place.number, file);
                    let waiting = self.state().waiting.remove(&place.number).unwrap_or_default();
                    waiting.into_iter().for_each(|question| self.answer(&place, &file, question));
                }
                Err(error) => self.fail(&place, error),
            }
        }
    }

    fn answer(&self, place: &Place, file: &Piece, question: Question) {
        let (offset, size, reply) = match question {
            Question::Open(reply) => return reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Question::Read { offset, size, reply } => (offset, size, reply),
        };
        let wanted = u64::from(size).min(place.size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or_default()];
        match file.read_exact_at(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(error) => {
                reply.error(Errno::EIO);
                self.fail(place, error);
            }
        }
    }

    /// Once a file cannot be given, whatever reads from the tree is worth nothing: nobody need wait for the others.
    fn fail(&self, place: &Place, error: io::Error) {
        self.state().failure.get_or_insert_with(|| (place.path.clone(), Arc::new(error)));
        self.stop();
        (self.broken)();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
