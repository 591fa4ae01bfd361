//! This side of a build in a container.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use shiplap_registry::engine::{Address, Engine, Running, Task, Written};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::gather::{Gathered, gather};
use super::image::{Image, PROGRAM, REPOSITORY};
use super::relay::Relay;
use super::serve::{ENGINE_SOCKET, STORE};
use super::wire::Wanted;
use crate::cli::{Global, ProgressKind};
use crate::commands::build::Args;
use crate::failure::{Failure, Kind, Result};
use crate::{engine, output};

/// The volume with the store.
const VOLUME: &str = "shiplap-store";
/// Where an engine that is not on this machine has its socket.
const USUAL_SOCKET: &str = "/var/run/docker.sock";

/// Builds in a container of an engine. `words` are those behind the program's name.
pub fn run(global: &Global, args: &Args, words: &[OsString], progress: ProgressKind) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, format!("cannot start threads: {e}")))?;
    let code = runtime.block_on(build(global, args, words, progress));
    // A read of a terminal that never comes must not keep us.
    runtime.shutdown_background();
    code
}

async fn build(global: &Global, args: &Args, words: &[OsString], progress: ProgressKind) -> Result<ExitCode> {
    let engine = engine::named(global, args.engine().unwrap_or_default()).await?;
    let tell = |text: &str| {
        if progress.has_words() {
            eprintln!("{text}");
        }
    };
    let mut gathered = gather(global, args, words)?;
    let mut relay = Relay::of(progress, args.flags.explain);
    gathered.job.args.push(format!("--progress={}", relay.kind_there().name()));
    let image = Image::of(args.engine_program(), engine.architecture())?;
    if !engine.has(&image.name).await? {
        tell(&format!("giving {engine} the image of the worker, {}", image.name));
        engine.load(image.archive()?).await?;
        // Each version of the program would leave one.
        engine.remove_others(REPOSITORY, &image.name).await;
    }
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(interrupt), Ok(terminate)] = &mut signals else {
        return Err(Failure::new(Kind::Failed, "cannot prepare for Ctrl-C"));
    };
    let mut running = engine.start(&task(&engine, args, &image)).await?;
    tokio::select! {
        sent = send(&mut running, &gathered) => match sent? {
            Some(sent) => tell(&sent),
            // It said why, and ended.
            None => return ended(running).await,
        },
        () = stopped(interrupt, terminate) => {
            running.signal("SIGKILL").await;
            return Err(Failure::new(Kind::Cancelled, "cancelled"));
        }
    }
    gathered.remember();
    loop {
        tokio::select! {
            written = running.read() => match written? {
                Some(Written::Err(bytes)) => relay.take(&bytes)?,
                Some(written) => {
                    relay.rest();
                    show(&written)?;
                }
                None => break,
            },
            // The build ends by itself then, and says so.
            () = stopped(interrupt, terminate) => running.signal("SIGTERM").await,
        }
    }
    relay.end()?;
    ended(running).await
}

fn task(engine: &Engine, args: &Args, image: &Image) -> Task {
    let socket = match engine.address() {
        Address::Unix(path) => path.display().to_string(),
        Address::Tcp { .. } | Address::Ssh(_) => USUAL_SOCKET.to_owned(),
    };
    let now = std::time::UNIX_EPOCH.elapsed().map_or(0, |now| now.subsec_nanos());
    Task {
        // People see it in `docker ps`; several machines may build in one engine.
        name: format!("shiplap-build-{}-{now:08x}", std::process::id()),
        image: image.name.clone(),
        command: vec![PROGRAM.to_owned(), super::ARGUMENT.to_owned()],
        volume: (VOLUME.to_owned(), STORE.to_owned()),
        binds: if args.uses_engine() { vec![(socket, ENGINE_SOCKET.to_owned())] } else { Vec::new() },
        memory: vec!["/run/shiplap".to_owned()],
    }
}

/// Sends the job and what is wanted of it. Says how much that was; none when the container ended before.
async fn send(running: &mut Running, gathered: &Gathered) -> Result<Option<String>> {
    let job = serde_json::to_string(&gathered.job)? + "\n";
    running.write(job.as_bytes()).await?;
    for file in &gathered.files {
        running.write(file).await?;
    }
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        match running.read().await? {
            Some(Written::Out(bytes)) => line.extend_from_slice(&bytes),
            Some(other) => show(&other)?,
            None => return Ok(None),
        }
    }
    let wanted: Wanted = serde_json::from_slice(&line)?;
    let (mut files, mut bytes) = (0, 0);
    for (folder, entries) in wanted.folders.iter().enumerate() {
        for entry in entries {
            let content = gathered.content(folder, *entry)?;
            running.write(&content).await?;
            files += 1;
            bytes += content.len() as u64;
        }
    }
    let all = output::size(gathered.size());
    Ok(Some(format!("sent {files} files, {} of {all}", output::size(bytes))))
}

fn show(written: &Written) -> Result<()> {
    let result = match written {
        Written::Out(bytes) => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush())
        }
        Written::Err(bytes) => std::io::stderr().lock().write_all(bytes),
    };
    result.map_err(|e| Failure::new(Kind::Failed, format!("cannot print what the build says: {e}")))
}

async fn stopped(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

async fn ended(running: Running) -> Result<ExitCode> {
    let code = running.end().await?;
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}
