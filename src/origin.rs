//! Where this was run from, for the record: the job of a CI system, as its variables say.

use shiplap_manifests::git::without_credentials;
use shiplap_manifests::log::Origin;

/// The job that this runs in, if it is one.
pub fn of_environment() -> Option<Origin> {
    of(&|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// Each system has a variable that is always set in its jobs: GitLab (*Predefined CI/CD variables*), GitHub (*Default environment variables*),
/// Jenkins (*Using environment variables*).
fn of(variable: &dyn Fn(&str) -> Option<String>) -> Option<Origin> {
    // An address of a job has no user and no query; what somebody put there is not for a record that is kept for ever.
    let url = |name: &str| variable(name).map(|url| without_credentials(&url));
    let origin = |system: &str, job, pipeline| Some(Origin { system: system.to_owned(), job, pipeline });
    if variable("GITLAB_CI").is_some() {
        return origin("gitlab", url("CI_JOB_URL"), variable("CI_PIPELINE_ID"));
    }
    if variable("GITHUB_ACTIONS").is_some() {
        let run = variable("GITHUB_RUN_ID");
        let job = run.as_ref().and_then(|run| {
            Some(format!("{}/{}/actions/runs/{run}", url("GITHUB_SERVER_URL")?, variable("GITHUB_REPOSITORY")?))
        });
        return origin("github", job, run);
    }
    if variable("JENKINS_URL").is_some() {
        return origin("jenkins", url("BUILD_URL"), variable("BUILD_TAG"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(variables: &[(&str, &str)]) -> Option<(String, Option<String>, Option<String>)> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        of(&find).map(|origin| (origin.system, origin.job, origin.pipeline))
    }

    #[test]
    fn each_system_is_known_by_its_variables() {
        let some = |text: &str| Some(text.to_owned());
        let gitlab = [
            ("GITLAB_CI", "true"),
            ("CI_JOB_URL", "https://ci:token@git.example.org/campus/-/jobs/7"),
            ("CI_PIPELINE_ID", "42"),
        ];
        assert_eq!(
            origin(&gitlab),
            Some(("gitlab".to_owned(), some("https://git.example.org/campus/-/jobs/7"), some("42")))
        );
        let github = [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_SERVER_URL", "https://github.com"),
            ("GITHUB_REPOSITORY", "campus/site"),
            ("GITHUB_RUN_ID", "99"),
        ];
        let run = "https://github.com/campus/site/actions/runs/99";
        assert_eq!(origin(&github), Some(("github".to_owned(), some(run), some("99"))));
        let jenkins =
            [("JENKINS_URL", "https://j/"), ("BUILD_URL", "https://j/job/x/3/"), ("BUILD_TAG", "jenkins-x-3")];
        assert_eq!(origin(&jenkins), Some(("jenkins".to_owned(), some("https://j/job/x/3/"), some("jenkins-x-3"))));
        assert_eq!(origin(&[("CI_JOB_URL", "https://elsewhere")]), None);
    }
}
