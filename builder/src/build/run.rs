//! `RUN`: from the instruction to a specification for the sandbox.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use rustix::fs::{FlockOperation, flock};
use shiplap_cache::{ContentHash, IndexBuilder, LayerId, PendingLayer, Question, Stack, Tree, TreePath};

use super::agent::Relay;
use super::error::StepError;
use super::files::Files;
use super::key::{self, Keyed, MountKey, Surroundings};
use super::layout::{Imposed, Layout};
use super::reach::{Reach, Serving};
use super::sources::Sources;
use super::stage::{recall, remember};
use super::{Builder, Request, noise};
use crate::plan::{MountKind, Network, RunOp, Sharing, Source, Stage};
use crate::sandbox::{self, Cancel, Exit, Lower, Stream, Told};
use crate::served::ServedTree;
use crate::trace::{Trace, Tracer};

/// A mount's files, once they are known.
#[derive(Debug)]
pub(crate) enum Mounted {
    /// These layers, topmost first, or a live directory that must be copied first.
    Files(Files, TreePath),
    Nothing,
}

/// The key of a run. `contents` has the digest of what each mount shows.
pub(crate) fn key(request: &Request, stage: &Stage, op: &RunOp, contents: &[Option<ContentHash>]) -> Keyed {
    let keys: Vec<MountKey<'_>> = op
        .mounts
        .iter()
        .zip(contents)
        .map(|(mount, content)| {
            let target = mount.target.as_deref();
            match &mount.kind {
                MountKind::Bind { read_only, .. } => MountKey::Bind {
                    target: target.unwrap_or_default(),
                    content: content.unwrap_or_else(|| ContentHash::of(b"")),
                    read_only: *read_only,
                },
                MountKind::Cache { id, sharing, owner, read_only, .. } => MountKey::Cache {
                    target: target.unwrap_or_default(),
                    id,
                    sharing: *sharing,
                    from: *content,
                    owner: *owner,
                    read_only: *read_only,
                },
                MountKind::Tmpfs { size } => MountKey::Tmpfs { target: target.unwrap_or_default(), size: *size },
                MountKind::Secret { id, env, owner, .. } => MountKey::Secret {
                    target,
                    id,
                    env: env.as_deref(),
                    owner: *owner,
                    given: request.secrets.contains_key(id),
                },
                MountKind::Ssh { id, owner, .. } => {
                    MountKey::Ssh { target, id, owner: *owner, given: request.ssh.contains_key(id) }
                }
            }
        })
        .collect();
    let surroundings = Surroundings {
        platform: Some(&stage.platform),
        extra_hosts: &request.extra_hosts,
        shm_size: request.shm_size,
        ulimits: request.ulimits.iter().map(|u| format!("{u:?}")).collect(),
        hostname: hostname(request),
        noise: &request.noise,
        untraced: !request.trace,
    };
    key::run(op, network(op, request), &keys, &surroundings)
}

/// The network that a run gets: its own word, else the build's. Both ways of having one are the host's.
fn network(op: &RunOp, request: &Request) -> Network {
    match (op.network, request.network) {
        (Network::None, _) | (Network::Default, Network::None) => Network::None,
        _ => Network::Default,
    }
}

/// The host name in steps: BuildKit's, or what its build argument says.
fn hostname(request: &Request) -> &str {
    let given = request.options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME").filter(|name| !name.is_empty());
    given.map_or("buildkitsandbox", String::as_str)
}

/// The digests of what the mounts of a run show, and the files where they had to be looked at.
pub(crate) async fn contents(
    builder: &Arc<Builder>,
    sources: &Arc<Sources>,
    op: &RunOp,
) -> Result<(Vec<Option<ContentHash>>, Option<Vec<Mounted>>), StepError> {
    let store = builder.store();
    let mut memos = Vec::new();
    let mut known = Vec::new();
    for mount in &op.mounts {
        let Some((from, source)) = shown(&mount.kind) else {
            memos.push(None);
            known.push(Some(None));
            continue;
        };
        let memo = match sources.identity(builder, from).await? {
            Some(identity) => Some(serde_json::to_string(&(identity, "mount", source))?),
            None => None,
        };
        known.push(recall(store, sources, memo.as_deref())?.map(|digests| digests.first().copied()));
        memos.push(memo);
    }
    if let Some(contents) = known.into_iter().collect() {
        return Ok((contents, None));
    }
    let mounted = mounted(builder, sources, op).await?;
    let mut contents = Vec::new();
    for (files, memo) in mounted.iter().zip(memos) {
        let content = match files {
            Mounted::Files(files, path) => Some(files.digest(path)),
            Mounted::Nothing => None,
        };
        if let (Some(content), Some(memo)) = (content, memo) {
            remember(store, sources, &memo, &[content])?;
        }
        contents.push(content);
    }
    Ok((contents, Some(mounted)))
}

/// Where the files of a mount come from, if it shows any.
fn shown(kind: &MountKind) -> Option<(&Source, &str)> {
    match kind {
        MountKind::Bind { from, source, .. } | MountKind::Cache { from: Some(from), source, .. } => {
            Some((from, source))
        }
        _ => None,
    }
}

/// Finds what the mounts of a run show.
pub(crate) async fn mounted(
    builder: &Arc<Builder>,
    sources: &Arc<Sources>,
    op: &RunOp,
) -> Result<Vec<Mounted>, StepError> {
    let mut all = Vec::new();
    for mount in &op.mounts {
        let Some((from, source)) = shown(&mount.kind) else {
            all.push(Mounted::Nothing);
            continue;
        };
        let files = sources.files(builder, from).await?;
        let resolved = files.tree().resolve(&TreePath::new(source.as_bytes())?, true);
        if resolved.found.is_none() && !resolved.path.is_root() {
            let (path, place) = (source.to_owned(), sources.describe(from));
            return Err(StepError::Missing { path, place, hint: String::new() });
        }
        all.push(Mounted::Files(files, resolved.path));
    }
    Ok(all)
}

/// What must live for as long as the step runs.
#[derive(Debug, Default)]
pub(crate) struct Held {
    locks: Vec<std::fs::File>,
    tops: Vec<PendingLayer>,
    relays: Vec<Relay>,
    /// The trees that are served to it, by their numbers.
    served: Vec<ServedTree>,
}

/// Makes the specification. Blocks while another build holds a locked cache mount.
pub(crate) fn specify(
    builder: &Builder,
    request: &Request,
    op: &RunOp,
    mounted: &[Mounted],
    stack: &Stack,
    reach: &Reach,
    pending: &PendingLayer,
) -> Result<(sandbox::RunSpec, Held), StepError> {
    let mut held = Held::default();
    let mut env: Vec<(String, String)> =
        op.env.iter().chain(op.proxy.iter()).map(|(n, v)| (n.into(), v.into())).collect();
    let mut mounts = Vec::new();
    for (mount, files) in op.mounts.iter().zip(mounted) {
        let target = || mount.target.clone().unwrap_or_default();
        match (&mount.kind, files) {
            (MountKind::Bind { read_only, .. }, Mounted::Files(files, path)) => {
                let (layers, subpath) = layers_of(builder, files, path, reach, &mut held)?;
                let source = sandbox::BindSource::Layers(layers);
                mounts.push(sandbox::Mount::Bind { source, subpath, target: target(), read_only: *read_only });
            }
            (MountKind::Cache { id, sharing, owner, read_only, .. }, files) => {
                let dir = cache_dir(builder, id, *sharing, *owner, files, &mut held)?;
                mounts.push(sandbox::Mount::Cache { dir, target: target(), read_only: *read_only });
            }
            (MountKind::Tmpfs { size }, _) => mounts.push(sandbox::Mount::Tmpfs { target: target(), size: *size }),
            (MountKind::Secret { id, env: variable, owner, required }, _) => match request.secrets.get(id) {
                Some(value) => {
                    if let Some(name) = variable {
                        env.push((name.clone(), String::from_utf8_lossy(value).into_owned()));
                    }
                    if let Some(target) = mount.target.clone() {
                        let (mode, uid, gid) = (owner.mode, owner.uid, owner.gid);
                        mounts.push(sandbox::Mount::Secret { contents: value.clone(), target, mode, uid, gid });
                    }
                }
                None if *required => return Err(StepError::Secret(id.clone())),
                None => {}
            },
            (MountKind::Ssh { id, owner, required }, _) => match request.ssh.get(id) {
                Some(agent) => {
                    let relay = Relay::start(builder.store(), agent, *owner)?;
                    mounts.push(sandbox::Mount::Ssh { socket: relay.path(), target: target() });
                    held.relays.push(relay);
                }
                None if *required => return Err(StepError::Ssh(id.clone())),
                None => {}
            },
            (MountKind::Bind { .. }, Mounted::Nothing) => {}
        }
    }
    for file in &op.inline_files {
        let target = format!("/dev/pipes/{}", file.name);
        mounts.push(sandbox::Mount::File { contents: file.data.clone().into_bytes(), target, mode: 0o755 });
    }
    // The agent's place is told in a variable, as BuildKit does.
    if let Some(sandbox::Mount::Ssh { target, .. }) = mounts.iter().find(|m| matches!(m, sandbox::Mount::Ssh { .. })) {
        env.push(("SSH_AUTH_SOCK".into(), target.clone()));
    }
    let network = match network(op, request) {
        Network::None => sandbox::Network::None,
        Network::Default | Network::Host => sandbox::Network::Host,
    };
    let spec = sandbox::RunSpec {
        lower: reach.lower(builder.store(), stack.layers(), &mut held.served)?,
        served: held.served.len(),
        upper: pending.upper(),
        work: pending.work(),
        argv: op.argv.clone(),
        env,
        cwd: op.cwd.clone(),
        user: op.user.clone(),
        mounts,
        network,
        hostname: hostname(request).to_owned(),
        extra_hosts: request.extra_hosts.clone(),
        shm_size: request.shm_size,
        ulimits: request.ulimits.clone(),
        stdin: None,
        trace: request.trace,
    };
    Ok((spec, held))
}

/// Layers, topmost first, that show these files, and the path in them. A live directory is copied: a step must see
/// what was hashed, owned by root, without what is ignored.
fn layers_of(
    builder: &Builder,
    files: &Files,
    path: &TreePath,
    reach: &Reach,
    held: &mut Held,
) -> Result<(Vec<Lower>, String), StepError> {
    let store = builder.store();
    let nothing = Tree::default();
    let own: Vec<LayerId> = files.layers().collect();
    let (tree, layers, path): (_, Vec<Lower>, _) = if files.is_live() {
        let (layer, path) = copy_live(builder, files, path)?;
        (&nothing, layer.iter().map(|layer| store.layer_dir(layer).into()).collect(), path)
    } else if own.is_empty() {
        (files.tree(), files.roots().rev().cloned().map(Lower::from).collect(), path.to_string())
    } else {
        (files.tree(), reach.lower(store, &own, &mut held.served)?, path.to_string())
    };
    // Overlayfs takes the root's owner and mode from the topmost directory. A layer's directory does not have them: equal layers of trees
    // with different roots are one. This is also the empty folder that `scratch` is.
    let top = store.begin_layer(tree)?;
    let layers = std::iter::once(top.upper().into()).chain(layers).collect();
    held.tops.push(top);
    Ok((layers, path))
}

/// Copies a part of a live directory into a layer of its own.
pub(crate) fn copy_live(
    builder: &Builder,
    files: &Files,
    path: &TreePath,
) -> Result<(Option<LayerId>, String), StepError> {
    let store = builder.store();
    let nothing = Tree::default();
    let mut layout = Layout::new(&nothing);
    let group = layout.group();
    let items = files.below(path);
    let is_file = items.first().is_some_and(|item| !item.entry.is_dir());
    for item in &items {
        if item.path.is_root() && !is_file {
            continue;
        }
        let to = if is_file { TreePath::root().join(path.name()) } else { item.path.clone() };
        layout.put(group, to, item, files.is_live(), &Imposed::default())?;
    }
    let pending = store.begin_layer(&nothing)?;
    let index = layout.make(&pending.upper())?;
    let layer = store.keep_layer(pending, index)?;
    let inside = if is_file { TreePath::root().join(path.name()) } else { TreePath::root() };
    Ok((layer, inside.to_string()))
}

/// Owner, group and mode of a cache mount's root, and what it begins with.
pub(crate) fn cache_origin(owner: crate::plan::FileOwner, from: &Mounted) -> ((u32, u32, u32), String) {
    match from {
        Mounted::Files(files, path) => {
            let root = files.below(path).into_iter().next().map(|item| item.entry).filter(|entry| entry.is_dir());
            let own = root.map_or((0, 0, 0o755), |entry| (entry.uid, entry.gid, entry.mode));
            (own, files.digest(path).hex())
        }
        Mounted::Nothing => ((owner.uid, owner.gid, owner.mode), String::new()),
    }
}

/// What a cache mount is for. As in BuildKit, caches of one id that begin otherwise are other caches. A private one that is in use has a further copy.
pub(crate) fn cache_label(id: &str, own: (u32, u32, u32), origin: &str, copy: u32) -> String {
    format!("run {id} {own:?} {origin} {copy}")
}

/// The directory of a cache mount, locked as its sharing mode says.
fn cache_dir(
    builder: &Builder,
    id: &str,
    sharing: Sharing,
    owner: crate::plan::FileOwner,
    from: &Mounted,
    held: &mut Held,
) -> Result<PathBuf, StepError> {
    use std::os::unix::fs::PermissionsExt;
    let (own, origin) = cache_origin(owner, from);
    for copy in 0.. {
        let folder = builder.store().cache_mount(&cache_label(id, own, &origin, copy))?;
        let io = |what, path: &PathBuf, source: std::io::Error| StepError::Io { what, path: path.clone(), source };
        let lock = std::fs::File::open(&folder).map_err(|e| io("open", &folder, e))?;
        let locked = match sharing {
            Sharing::Shared => flock(&lock, FlockOperation::LockShared),
            Sharing::Locked => flock(&lock, FlockOperation::LockExclusive),
            Sharing::Private => flock(&lock, FlockOperation::NonBlockingLockExclusive),
        };
        match locked {
            Err(rustix::io::Errno::WOULDBLOCK) => continue,
            result => result.map_err(|e| io("lock", &folder, e.into()))?,
        }
        held.locks.push(lock);
        let dir = folder.join("data");
        if !dir.exists() {
            // Made aside and renamed: a build that is stopped here leaves no half-filled cache.
            let aside = tempfile::tempdir_in(&folder).map_err(|e| io("make a directory in", &folder, e))?.keep();
            if let Mounted::Files(files, path) = from {
                let nothing = Tree::default();
                let mut layout = Layout::new(&nothing);
                let group = layout.group();
                for item in files.below(path).iter().filter(|item| !item.path.is_root()) {
                    // Copied, never linked: steps write to a cache.
                    layout.put(group, item.path.clone(), item, true, &Imposed::default())?;
                }
                layout.make(&aside)?;
            }
            std::os::unix::fs::chown(&aside, Some(own.0), Some(own.1))
                .map_err(|e| io("change the owner of", &aside, e))?;
            let mode = std::fs::Permissions::from_mode(own.2);
            std::fs::set_permissions(&aside, mode).map_err(|e| io("change the mode of", &aside, e))?;
            match std::fs::rename(&aside, &dir) {
                // With a shared lock another build may have been first.
                Err(_) if dir.exists() => drop(std::fs::remove_dir_all(&aside)),
                result => result.map_err(|e| io("rename", &aside, e))?,
            }
        }
        return Ok(dir);
    }
    unreachable!("there is always a further copy")
}

/// Runs the specification and keeps what it made. The layer is none when nothing changed.
pub(crate) fn carry_out(
    builder: &Builder,
    request: &Request,
    (spec, held): &(sandbox::RunSpec, Held),
    pending: PendingLayer,
    parent: &Tree,
    cancel: &Cancel,
    output: &mut (dyn FnMut(Stream, &[u8]) + Send),
) -> Result<(Option<LayerId>, Trace), StepError> {
    let tracer = tracer(spec, parent);
    let began = Instant::now();
    let mut serving = Serving::new(&held.served, cancel)?;
    let cancel = serving.cancel();
    let exit = std::thread::scope(|scope| {
        builder.sandbox.run_traced(spec, output, &cancel, &mut |told| match told {
            Told::Traced(listener) => tracer.follow(scope, listener),
            Told::Untraced(why) => tracer.give_up(format!("this kernel does not tell its calls: {why}")),
            Told::Serve { tree, device } => serving.serve(tree, device),
            Told::Cancelled => serving.stop(),
        })
    });
    match serving.whole(exit)? {
        Exit::Code(0) => {}
        Exit::NotStarted { code, message } => return Err(StepError::NotStarted { code, message }),
        exit => return Err(StepError::Exit { code: exit.code() }),
    }
    let ran = began.elapsed();
    noise::clean(&pending.upper(), &noise::rules(&request.noise)?)?;
    let layer = builder.store().commit_layer(pending, parent)?;
    let mut trace = match &layer {
        Some(layer) => tracer.finish(&*builder.store().index(layer)?),
        None => tracer.finish(&IndexBuilder::default().finish()?),
    };
    // Nobody else is on a network of its own.
    trace.network &= spec.network != sandbox::Network::None;
    let (calls, paths) = (trace.calls, trace.set.observations().len());
    tracing::debug!(?ran, kept = ?began.elapsed() - ran, calls, paths, "ran");
    Ok((layer, trace))
}

/// A tracer that knows what the sandbox reads of the tree before the step begins.
fn tracer<'t>(spec: &sandbox::RunSpec, parent: &'t Tree) -> Tracer<'t> {
    let own = ["/proc", "/sys", "/dev", "/etc/resolv.conf", "/etc/hosts"];
    let tracer = Tracer::new(parent, own.into_iter().chain(spec.mounts.iter().map(sandbox::Mount::target)));
    for mount in &spec.mounts {
        if let sandbox::Mount::Cache { target, .. } = mount {
            tracer.cache(target);
        }
    }
    // The user in force, and the home of whoever it is.
    for file in ["/etc/passwd", "/etc/group"] {
        tracer.ask(file, Question::Content);
    }
    tracer.ask(&spec.cwd, Question::Exists);
    if !spec.trace {
        tracer.give_up("--no-trace");
    }
    tracer
}
