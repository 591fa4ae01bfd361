//! Which part of an Open edX site a path of the image belongs to, by where Tutor's Dockerfile and this project's example put things.

use serde::Serialize;
use shiplap_cache::TreePath;

/// A part of a site that people change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The image that a stage starts from.
    BaseImage,
    /// Python and Node packages, and the files that name them.
    Requirements,
    /// edx-platform.
    PlatformCode,
    /// Plugins and mounted packages of one's own.
    Plugins,
    /// Comprehensive themes.
    Themes,
    /// Django settings and the files that they read.
    Settings,
    /// Anything else.
    Other,
}

impl Input {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::BaseImage => "base image",
            Self::Requirements => "requirements",
            Self::PlatformCode => "platform code",
            Self::Plugins => "plugins",
            Self::Themes => "themes",
            Self::Settings => "settings",
            Self::Other => "other files",
        }
    }

    /// The input that a path belongs to. Stages that hold a part alone have it at their root.
    pub fn of(path: &TreePath) -> Self {
        let path = String::from_utf8_lossy(path.as_bytes());
        let parts: Vec<&str> = path.split('/').collect();
        let under =
            |folder: &str| path == folder || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let has = |name: &str| parts.contains(&name);
        match () {
            () if under("openedx/themes") || under("themes") => Self::Themes,
            () if under("mnt") || under("openedx/plugins") || under("plugins") || under("openedx/requirements") => {
                Self::Plugins
            }
            () if under("openedx/config")
                || under("settings")
                || has("envs")
                || has("settings") && !has("site-packages") =>
            {
                Self::Settings
            }
            () if has("requirements")
                || has("site-packages")
                || has("node_modules")
                || NAMES.contains(&parts[parts.len() - 1]) =>
            {
                Self::Requirements
            }
            () if under("openedx/venv") || under("openedx/nodeenv") || under("openedx/node_modules") => {
                Self::Requirements
            }
            () if under("openedx/edx-platform") || PLATFORM.iter().any(|folder| under(folder)) => Self::PlatformCode,
            () => Self::Other,
        }
    }
}

/// Files that name packages.
const NAMES: [&str; 8] = [
    "package.json",
    "package-lock.json",
    "pyproject.toml",
    "setup.py",
    "setup.cfg",
    "uv.lock",
    "requirements.txt",
    "constraints.txt",
];

/// What is at the root of edx-platform.
const PLATFORM: [&str; 7] = ["lms", "cms", "common", "openedx/core", "openedx/features", "xmodule", "scripts"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_where_tutor_puts_them() {
        for (path, input) in [
            ("openedx/themes/indigo/lms/static/sass/_a.scss", Input::Themes),
            ("mnt/campus-badges/campus_badges/settings/common.py", Input::Plugins),
            ("openedx/edx-platform/lms/envs/tutor/production.py", Input::Settings),
            ("openedx/config/lms.env.yml", Input::Settings),
            ("openedx/edx-platform/requirements/edx/base.txt", Input::Requirements),
            ("openedx/venv/lib/python3.11/site-packages/x.py", Input::Requirements),
            ("openedx/edx-platform/package-lock.json", Input::Requirements),
            ("openedx/edx-platform/lms/djangoapps/x/views.py", Input::PlatformCode),
            ("openedx/bin/docker_init.sh", Input::Other),
        ] {
            assert_eq!(Input::of(&TreePath::new(path).unwrap()), input, "{path}");
        }
    }
}
