//! How a build looks while it runs.

mod json;
mod plain;
mod raw_json;
mod tty;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use shiplap_builder::build::{Event, StepId, StepInfo, Watch};
use shiplap_builder::plan::Warning;
use shiplap_registry::Event as Transfer;

use crate::cli::ProgressKind;

/// Shows what happens, on standard error.
pub struct Progress {
    face: Mutex<Box<dyn Face>>,
    /// What the checks of the newest plan found.
    warnings: Mutex<Vec<Warning>>,
}

/// One way of showing it.
trait Face: Send {
    /// An event of the build of an image.
    fn build(&mut self, build: &Build, event: &Event<'_>);
    /// Bytes that move.
    fn transfer(&mut self, event: &Transfer);
    /// Something that people should know.
    fn say(&mut self, text: &str);
    /// Everything is over.
    fn finish(&mut self);
}

/// One of the builds that run: an image's.
struct Build {
    image: Option<String>,
    steps: Mutex<BTreeMap<StepId, StepInfo>>,
    started: Mutex<BTreeMap<StepId, Instant>>,
}

impl Progress {
    /// The way that was asked for.
    pub fn new(kind: ProgressKind) -> Self {
        let face: Box<dyn Face> = match kind {
            ProgressKind::Auto if std::io::stderr().is_terminal() => Box::new(tty::Tty::new()),
            ProgressKind::Tty => Box::new(tty::Tty::new()),
            ProgressKind::Auto | ProgressKind::Plain => Box::new(plain::Plain::default()),
            ProgressKind::Json | ProgressKind::Relay => Box::new(json::Json),
            ProgressKind::RawJson => Box::new(raw_json::RawJson::default()),
            ProgressKind::Quiet | ProgressKind::None => Box::new(Quiet),
        };
        Self { face: Mutex::new(face), warnings: Mutex::default() }
    }

    /// Watches the build of an image; the name is shown when there are several.
    pub fn watch(self: &Arc<Self>, image: Option<&str>) -> Arc<dyn Watch> {
        let build = Build { image: image.map(str::to_owned), steps: Mutex::default(), started: Mutex::default() };
        Arc::new(Watched { progress: self.clone(), build })
    }

    /// Says something that people should know, between the lines that move.
    pub fn say(&self, text: &str) {
        self.face().say(text);
    }

    /// Takes moving lines off the screen.
    pub fn finish(&self) {
        self.face().finish();
    }

    /// What the checks of the newest plan found.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn face(&self) -> std::sync::MutexGuard<'_, Box<dyn Face>> {
        self.face.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watched {
    progress: Arc<Progress>,
    build: Build,
}

impl Watch for Watched {
    fn event(&self, event: Event<'_>) {
        match &event {
            Event::Planned { steps, warnings } => {
                *self.progress.warnings.lock().unwrap_or_else(PoisonError::into_inner) = warnings.to_vec();
                let steps = steps.iter().map(|step| (step.id, step.clone()));
                self.build.steps.lock().unwrap_or_else(PoisonError::into_inner).extend(steps);
            }
            Event::Started(step) => {
                self.build.started.lock().unwrap_or_else(PoisonError::into_inner).insert(*step, Instant::now());
            }
            _ => {}
        }
        self.progress.face().build(&self.build, &event);
    }
}

impl shiplap_registry::Progress for Progress {
    fn event(&self, event: Transfer) {
        self.face().transfer(&event);
    }
}

impl Build {
    /// `[openedx production 7/12]`.
    fn label(&self, step: StepId) -> String {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let of_stage: Vec<&StepInfo> = steps.values().filter(|info| info.id.stage == step.stage).collect();
        let place = of_stage.iter().position(|info| info.id == step).map_or(0, |at| at + 1);
        let stage = of_stage.first().map_or("", |info| info.stage.as_str());
        let image = self.image.as_ref().map(|image| format!("{image} ")).unwrap_or_default();
        format!("[{image}{stage} {place}/{}]", of_stage.len())
    }

    /// The instruction on one line.
    fn text(&self, step: StepId) -> String {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.get(&step).map_or_else(String::new, StepInfo::one_line)
    }

    fn elapsed(&self, step: StepId) -> f64 {
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.get(&step).map_or(0.0, |at| at.elapsed().as_secs_f64())
    }
}

struct Quiet;

impl Face for Quiet {
    fn build(&mut self, _: &Build, _: &Event<'_>) {}
    fn transfer(&mut self, _: &Transfer) {}
    fn say(&mut self, _: &str) {}
    fn finish(&mut self) {}
}
