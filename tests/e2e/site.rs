//! An instance with two images and a Compose target, in a git repository.

use crate::common::{Home, Repo};

const TOML: &str = r#"
[instance.campus]

[instance.campus.image.openedx]
context = "openedx"
repository = "REGISTRYcampus/openedx"

[instance.campus.image.mfe]
context = "mfe"
repository = "REGISTRYcampus/mfe"

[[instance.campus.deploy]]
kind = "compose"
file = "deploy/docker-compose.override.yml"
services = { lms = "openedx", cms = "openedx", mfe = "mfe" }
"#;

/// The file that a deploy writes.
pub const OVERRIDE: &str = "deploy/docker-compose.override.yml";

pub struct Site {
    pub home: Home,
    pub repo: Repo,
}

impl Site {
    /// A site whose images stay in the store.
    pub fn new() -> Self {
        Self::with_registry("")
    }

    /// A site whose repositories begin with this.
    pub fn with_registry(prefix: &str) -> Self {
        let home = Home::with_base();
        home.write("shiplap.toml", TOML.replace("REGISTRY", prefix));
        home.write("openedx/theme.css", "red");
        let dockerfile =
            "FROM base:1\nRUN echo slow >/requirements\nCOPY theme.css /theme.css\nRUN cp /theme.css /static.css\n";
        home.write("openedx/Dockerfile", dockerfile);
        home.write("mfe/Dockerfile", "FROM base:1\nRUN echo mfe >/mfe\n");
        home.write("deploy/docker-compose.yml", "services: {lms: {}, cms: {}, mfe: {}}\n");
        home.write(".gitignore", OVERRIDE);
        let repo = Repo::of(&home.work());
        Self { home, repo }
    }

    /// Changes the theme and commits that; gives the commit.
    pub fn edit(&self, colour: &str) -> String {
        self.repo.write("openedx/theme.css", colour);
        self.repo.commit(colour)
    }

    /// What the deploy target says.
    pub fn deployed(&self) -> String {
        std::fs::read_to_string(self.home.work().join(OVERRIDE)).unwrap()
    }
}
