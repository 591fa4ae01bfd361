//! The pages of a shared history in a repository of a registry.

use futures::{StreamExt, TryStreamExt};
use shiplap_cache::Digest;
use shiplap_manifests::share::{Fetched, Pages};
use shiplap_registry::tag::HistoryTag;
use shiplap_registry::{Artifact, Client, ClientOptions, Error, Images, Reference, Repository};

/// What a page is; of its one blob too.
const PAGE: &str = "application/vnd.shiplap.history.page.v1+json";
/// What people see of a page in a list (image-spec, annotations.md).
const DESCRIPTION: &str = "org.opencontainers.image.description";
/// Questions that are asked at a time.
const PARALLEL: usize = 16;

/// A repository of a registry.
#[derive(Debug)]
pub struct RegistryPages {
    pub client: Client,
    pub images: Images,
    pub repository: Repository,
}

/// The library that asks waits; the threads of the runtime go on.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

fn words(error: impl std::error::Error) -> String {
    error.to_string()
}

impl RegistryPages {
    fn named(&self, number: u64) -> Result<Reference, String> {
        self.repository.tagged(&HistoryTag(number).to_string()).map_err(words)
    }

    /// Asks something of each page, many at once, and gives the answers in order.
    fn each<T, F>(&self, numbers: &[u64], ask: impl Fn(Reference) -> F) -> Result<Vec<T>, String>
    where
        F: Future<Output = shiplap_registry::Result<T>>,
    {
        let named: Vec<Reference> = numbers.iter().map(|number| self.named(*number)).collect::<Result<_, _>>()?;
        let asked = futures::stream::iter(named.into_iter().map(ask)).buffered(PARALLEL);
        wait(asked.try_collect()).map_err(words)
    }
}

impl Pages for RegistryPages {
    fn name(&self) -> String {
        self.repository.to_string()
    }

    fn tag(&self, number: u64) -> String {
        HistoryTag(number).to_string()
    }

    fn numbers(&self) -> Result<Vec<u64>, String> {
        let tags = wait(self.client.tags(&self.repository)).map_err(words)?;
        let mut numbers: Vec<u64> = tags.iter().filter_map(|tag| Some(HistoryTag::of(tag)?.0)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn digests(&self, numbers: &[u64]) -> Result<Vec<Option<Digest>>, String> {
        self.each(numbers, |name| async move { self.client.resolve(&name).await })
    }

    fn fetch(&self, numbers: &[u64]) -> Result<Vec<Option<Fetched>>, String> {
        self.each(numbers, |name| async move { self.client.pull_blob(&self.images, &name).await })
    }

    fn create(&self, number: u64, bytes: &[u8], message: &str) -> Result<Option<Digest>, String> {
        let artifact = Artifact {
            artifact_type: PAGE.to_owned(),
            bytes: bytes.to_vec(),
            annotations: [(DESCRIPTION.to_owned(), message.to_owned())].into(),
            ..Artifact::default()
        };
        let page = self.images.artifact(&artifact).map_err(words)?;
        match wait(self.client.push(&self.images, &page, &self.named(number)?)) {
            Ok(_) => Ok(Some(page)),
            Err(Error::TagExists { .. }) => Ok(None),
            Err(error) => Err(words(error)),
        }
    }

    fn settle(&self) {
        // As long as the client waits before it reads such a tag back, and longer: who came first has looked before us.
        std::thread::sleep(ClientOptions::default().settle * 2);
    }
}
