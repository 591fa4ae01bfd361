//! An instance whose image is shaped like Open edX's: a platform in a git checkout, distributions that pip installed from wheels, a folder and a
//! commit, a theme, settings, translations, migrations.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Home, Repo, sh, write};

const TOML: &str = r#"
[instance.campus]
tutor-root = "tutor"

[instance.campus.image.openedx]
context = "openedx"
repository = "campus/openedx"

[instance.campus.image.mfe]
context = "mfe"
repository = "campus/mfe"

[[instance.campus.deploy]]
kind = "compose"
file = "deploy/docker-compose.override.yml"
services = { lms = "openedx", mfe = "mfe" }
"#;

const DOCKERFILE: &str = "FROM base:1\nCOPY system /\nCOPY root/openedx/venv /openedx/venv\nCOPY root /\n";

/// A build backend (PEP 517, PEP 660) that needs nothing but Python: the wheel of a folder with one package in it.
const BACKEND: &str = r#"
import pathlib, re, zipfile
HERE = pathlib.Path(__file__).parent
TEXT = (HERE / "pyproject.toml").read_text()
NAME = re.search('name = "(.*)"', TEXT)[1]
VERSION = re.search('version = "(.*)"', TEXT)[1]
def wheel(folder, files):
    info = f"{NAME}-{VERSION}.dist-info"
    points = HERE / "entry_points.txt"
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if points.exists():
        files[f"{info}/entry_points.txt"] = points.read_text()
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in files) + f"{info}/RECORD,,\n"
    name = f"{NAME}-{VERSION}-py3-none-any.whl"
    with zipfile.ZipFile(pathlib.Path(folder) / name, "w") as out:
        for path, text in files.items():
            out.writestr(path, text)
    return name
def build_wheel(folder, *rest):
    return wheel(folder, {str(p.relative_to(HERE)): p.read_text() for p in sorted((HERE / NAME).rglob("*.py"))})
def build_editable(folder, *rest):
    return wheel(folder, {f"{NAME}.pth": str(HERE)})
"#;

pub struct Edx {
    pub home: Home,
    pub repo: Repo,
    tools: tempfile::TempDir,
    python: PathBuf,
}

impl Edx {
    /// The instance before its first release.
    pub fn new() -> Self {
        let home = Home::with_base();
        home.write("shiplap.toml", TOML);
        home.write(".gitignore", "deploy/docker-compose.override.yml\n");
        home.write("deploy/docker-compose.yml", "services: {lms: {}, mfe: {}}\n");
        home.write("tutor/config.yml", "MYSQL_ROOT_PASSWORD: hunter2\nPLUGINS:\n- mfe\n- indigo\n");
        home.write("tutor/env/version", "20.0.1\n");
        home.write("mfe/Dockerfile", "FROM base:1\nCOPY package.json /app/node_modules/@edx/brand/package.json\n");
        home.write("mfe/package.json", r#"{"name": "@edx/brand", "version": "1.2.3", "license": "MIT"}"#);
        home.write("openedx/Dockerfile", DOCKERFILE);
        home.write("openedx/system/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian 12\"\n");
        let tools = tempfile::tempdir().unwrap();
        // Debian's python3 has no pip; a virtualenv has one, and takes its time.
        let has_pip =
            Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|out| out.status.success());
        let python = if has_pip { PathBuf::from("python3") } else { tools.path().join("venv/bin/python") };
        if !has_pip {
            sh(Command::new("python3").args(["-m", "venv"]).arg(tools.path().join("venv")));
        }
        let repo = Repo { path: home.work() };
        let edx = Self { home, repo, tools, python };
        edx.debian("2.36-9+deb12u9");
        edx.platform();
        edx.badges(&["0001_initial"]);
        edx.install_badges();
        edx.wheels(&[("xblock_poll", "1.9.0", "[xblock.v1]\npoll = xblock_poll:Poll\n"), ("gone_soon", "1.0", "")]);
        edx.forum();
        Repo::of(&edx.home.work());
        edx
    }

    /// A path of the image, in the build context.
    pub fn image_path(&self, path: &str) -> PathBuf {
        self.home.work().join("openedx/root").join(path)
    }

    /// Writes a file of the image.
    pub fn put(&self, path: &str, text: &str) {
        write(&self.image_path(path), text);
    }

    /// The version of a package of Debian.
    pub fn debian(&self, version: &str) {
        let stanza = format!("Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n");
        self.home.write("openedx/system/var/lib/dpkg/status", stanza);
    }

    fn platform(&self) {
        let at = |path: &str| format!("openedx/edx-platform/{path}");
        self.put(&at("lms/envs/common.py"), "PLATFORM_NAME = 'x'\nSECRET_KEY = 'hunter2'\n");
        self.put(&at("openedx/core/release.py"), "RELEASE_LINE = \"ulmo\"\n");
        self.put(&at(".git/HEAD"), &format!("{}\n", "0123456789".repeat(4)));
        self.put(
            &at(".git/config"),
            "[remote \"origin\"]\n\turl = https://me:hunter2@git.example.org/edx-platform.git\n",
        );
        self.put(&at("conf/locale/fr/LC_MESSAGES/django.po"), "");
        self.put(&at("common/djangoapps/student/migrations/__init__.py"), "");
        self.put(&at("common/djangoapps/student/migrations/0001_squashed.py"), "raise Exception('nobody runs this')\n");
        self.put(&at("node_modules/react/package.json"), r#"{"name": "react", "version": "17.0.2"}"#);
        self.put("openedx/themes/indigo/lms/static/sass/_a.scss", "red");
        self.put("openedx/themes/indigo/lms/templates/a.html", "a");
        self.put("openedx/staticfiles/bundle.js", "x");
    }

    /// The sources of a plugin, with these migrations.
    pub fn badges(&self, migrations: &[&str]) {
        let at = |path: &str| format!("openedx/plugins/badges/{path}");
        self.source(
            &self.image_path("openedx/plugins/badges"),
            "badges",
            "0.3",
            "[lms.djangoapp]\nbadges = badges.apps:Badges\n",
        );
        self.put(&at("badges/migrations/__init__.py"), "");
        for migration in migrations {
            self.put(&at(&format!("badges/migrations/{migration}.py")), "");
        }
    }

    /// Installs it in place, as Tutor does with mounted folders.
    fn install_badges(&self) {
        let source = self.image_path("openedx/plugins/badges");
        self.pip(&["--no-build-isolation", "-e", source.to_str().unwrap()]);
        // In the image it is elsewhere than here.
        let direct = self.site_packages().join("badges-0.3.dist-info/direct_url.json");
        let text = std::fs::read_to_string(&direct).unwrap();
        let outside = self.image_path("");
        std::fs::write(direct, text.replace(outside.to_str().unwrap().trim_end_matches('/'), "")).unwrap();
    }

    fn forum(&self) {
        let folder = self.tools.path().join("forum");
        self.source(&folder, "forum", "3.0", "");
        let repo = Repo::of(&folder);
        self.pip(&["--no-build-isolation", &format!("git+file://{}", repo.path.display())]);
    }

    /// Installs wheels as from an index: name, version, entry points.
    pub fn wheels(&self, all: &[(&str, &str, &str)]) {
        let wheels = self.tools.path().join("wheels");
        std::fs::create_dir_all(&wheels).unwrap();
        let mut args = vec!["--upgrade".to_owned(), "--find-links".to_owned(), wheels.display().to_string()];
        for (name, version, entry_points) in all {
            let source = self.tools.path().join(format!("{name}-{version}"));
            self.source(&source, name, version, entry_points);
            // With `--target` pip replaces packages, and leaves the records of other versions.
            for old in std::fs::read_dir(self.site_packages()).into_iter().flatten().map(|entry| entry.unwrap().path())
            {
                if old.file_name().unwrap().to_str().unwrap().starts_with(name) {
                    std::fs::remove_dir_all(old).unwrap();
                }
            }
            let build = "import backend, sys; backend.build_wheel(sys.argv[1])";
            sh(self.python().current_dir(&source).args(["-c", build]).arg(&wheels));
            args.push(format!("{name}=={version}"));
        }
        self.pip(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    fn source(&self, folder: &Path, name: &str, version: &str, entry_points: &str) {
        let project = format!(
            "[project]\nname = \"{name}\"\nversion = \"{version}\"\n[build-system]\nrequires = []\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n"
        );
        write(&folder.join("pyproject.toml"), project);
        write(&folder.join("backend.py"), BACKEND);
        write(&folder.join(name).join("__init__.py"), "");
        if !entry_points.is_empty() {
            write(&folder.join("entry_points.txt"), entry_points);
        }
    }

    fn python(&self) -> Command {
        let mut python = Command::new(&self.python);
        python
            .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
            .env("PIP_CONFIG_FILE", "/dev/null")
            .env("PIP_ROOT_USER_ACTION", "ignore")
            .env("PIP_BREAK_SYSTEM_PACKAGES", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1");
        python
    }

    fn pip(&self, args: &[&str]) {
        let flags = ["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target"];
        let editable = args.contains(&"-e");
        let mut python = self.python();
        match editable {
            // pip refuses both together.
            true => sh(python
                .args(["-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--prefix"])
                .arg(self.image_path("openedx/venv"))
                .args(args)),
            false => sh(python.args(flags).arg(self.site_packages()).args(args)),
        };
    }

    /// Where pip puts distributions.
    pub fn site_packages(&self) -> PathBuf {
        let lib = self.image_path("openedx/venv/lib");
        let there = std::fs::read_dir(&lib).ok().and_then(|mut all| all.next()).map(|entry| entry.unwrap().path());
        there.unwrap_or_else(|| lib.join("python3")).join("site-packages")
    }

    /// Commits and releases.
    #[track_caller]
    pub fn release(&self, version: &str) -> serde_json::Value {
        self.repo.commit(version);
        self.home.json(&["release", "campus", version])
    }
}
