//! A program in a container of an engine, spoken with over its standard streams.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;

use bollard::container::{AttachContainerResults, LogOutput};
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, ImportImageOptionsBuilder,
    KillContainerOptionsBuilder, ListImagesOptionsBuilder, RemoveImageOptions, StartContainerOptions,
    WaitContainerOptionsBuilder,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::task::JoinHandle;

use super::{Engine, EngineError};

/// What is run, and what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The container's name.
    pub name: String,
    /// The image.
    pub image: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// A volume, and where it is seen.
    pub volume: (String, String),
    /// Files of the engine's machine, and where they are seen.
    pub binds: Vec<(String, String)>,
    /// Folders in memory.
    pub memory: Vec<String>,
}

/// A container that runs. It is gone when its program ends, and that ends when its standard input does.
pub struct Running {
    engine: Engine,
    id: String,
    input: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>,
    ended: JoinHandle<Result<i64, bollard::errors::Error>>,
}

/// What a program wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// To standard output.
    Out(Bytes),
    /// To standard error.
    Err(Bytes),
}

impl Engine {
    /// Whether it has an image of this name.
    ///
    /// # Errors
    /// [`EngineError::Refused`].
    pub async fn has(&self, image: &str) -> Result<bool, EngineError> {
        Ok(self.inspect(image).await?.is_some())
    }

    /// Loads an archive as `docker save` writes it.
    ///
    /// # Errors
    /// [`EngineError::Refused`].
    pub async fn load(&self, archive: Vec<u8>) -> Result<(), EngineError> {
        let pieces = futures::stream::iter([Ok::<_, io::Error>(Bytes::from(archive))]);
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let loaded = self.patient().import_image_stream(options, pieces, None).try_for_each(|_| async { Ok(()) }).await;
        loaded.map_err(self.refused("load an image"))
    }

    /// Removes the other tags of a repository. One that a container uses stays.
    pub async fn remove_others(&self, repository: &str, kept: &str) {
        let filters = HashMap::from([("reference", vec![repository])]);
        let options = ListImagesOptionsBuilder::default().filters(&filters).build();
        let images = self.docker.list_images(Some(options)).await.unwrap_or_default();
        for tag in images.iter().flat_map(|image| &image.repo_tags).filter(|tag| !tag.ends_with(kept)) {
            let removed = self.docker.remove_image(tag, None::<RemoveImageOptions>, None).await;
            if let Err(error) = removed {
                tracing::debug!("{tag} stays in the engine: {error}");
            }
        }
    }

    /// Starts a program in a container that sees the engine's network, and may mount file systems.
    ///
    /// # Errors
    /// [`EngineError::Refused`].
    pub async fn start(&self, task: &Task) -> Result<Running, EngineError> {
        let volume = Mount {
            typ: Some(MountType::VOLUME),
            source: Some(task.volume.0.clone()),
            target: Some(task.volume.1.clone()),
            ..Mount::default()
        };
        let bind = |(source, target): &(String, String)| Mount {
            typ: Some(MountType::BIND),
            source: Some(source.clone()),
            target: Some(target.clone()),
            ..Mount::default()
        };
        let host = HostConfig {
            auto_remove: Some(true),
            mounts: Some([volume].into_iter().chain(task.binds.iter().map(bind)).collect()),
            network_mode: Some("host".to_owned()),
            cap_add: Some(vec!["SYS_ADMIN".to_owned()]),
            security_opt: Some(vec!["seccomp=unconfined".to_owned(), "apparmor=unconfined".to_owned()]),
            tmpfs: Some(task.memory.iter().map(|at| (at.clone(), String::new())).collect::<HashMap<_, _>>()),
            ..HostConfig::default()
        };
        let body = ContainerCreateBody {
            image: Some(task.image.clone()),
            cmd: Some(task.command.clone()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptionsBuilder::default().name(&task.name).build();
        let id = self.docker.create_container(Some(options), body).await.map_err(self.refused("make a container"))?.id;
        let options =
            AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stderr(true).stream(true).build();
        let attached = self.docker.attach_container(&id, Some(options)).await;
        let AttachContainerResults { output, input } = attached.map_err(self.refused("attach to a container"))?;
        let (patient, waited) = (self.patient(), id.clone());
        // Once it ended it is gone, so it is waited for from the beginning.
        let ended = tokio::spawn(async move {
            let options = WaitContainerOptionsBuilder::default().condition("next-exit").build();
            let mut answers = std::pin::pin!(patient.wait_container(&waited, Some(options)));
            match answers.next().await {
                Some(Ok(answer)) => Ok(answer.status_code),
                Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => Ok(code),
                Some(Err(error)) => Err(error),
                None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            }
        });
        let started = self.docker.start_container(&id, None::<StartContainerOptions>).await;
        started.map_err(self.refused("start a container"))?;
        Ok(Running { engine: self.clone(), id, input: Some(input), output, ended })
    }
}

impl Running {
    /// Writes to its standard input.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), EngineError> {
        let Some(input) = &mut self.input else { return Ok(()) };
        let written = async {
            input.write_all(bytes).await?;
            input.flush().await
        };
        written.await.map_err(|source| EngineError::Io { what: "send to a container".to_owned(), source })
    }

    /// What it writes next; none at the end.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn read(&mut self) -> Result<Option<Written>, EngineError> {
        match self.output.try_next().await {
            Ok(Some(LogOutput::StdErr { message })) => Ok(Some(Written::Err(message))),
            Ok(Some(other)) => Ok(Some(Written::Out(other.into_bytes()))),
            Ok(None) => Ok(None),
            Err(error) => Err(self.engine.refused("tell what a container writes")(error)),
        }
    }

    /// Sends it a signal, `SIGTERM`. That it ended already is as good.
    pub async fn signal(&self, name: &str) {
        let options = KillContainerOptionsBuilder::default().signal(name).build();
        if let Err(error) = self.engine.docker.kill_container(&self.id, Some(options)).await {
            tracing::debug!("{name} did not reach the container: {error}");
        }
    }

    /// Waits for its end, and gives its exit code.
    ///
    /// # Errors
    /// The connection broke.
    pub async fn end(mut self) -> Result<i64, EngineError> {
        let code = match self.ended.await {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(error)) => Err(self.engine.refused("say how a container ended")(error)),
            Err(error) => {
                Err(EngineError::Io { what: "wait for a container".to_owned(), source: io::Error::other(error) })
            }
        };
        self.input = None;
        code
    }
}
