//! `shiplap serve token`

use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use shiplap_manifests::config::Age;
use shiplap_registry::front::{Scope, Tokens};

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::{output, table};

#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Make a token and print its secret, once
    ///
    /// The secret is the password of any user name, as in `docker login -u ci`, or a bearer token. A server that runs knows it some seconds later.
    Create(Create),
    /// List the tokens, without their secrets
    List,
    /// Take a token away
    Revoke(Revoke),
}

#[derive(Debug, clap::Args)]
pub struct Create {
    /// What it is called, in the log too
    name: String,
    /// What it opens: repository:NAME:ACTIONS, with actions of pull, push and delete, and in the name `*`, which fits no `/`, and `**`, which does; or
    /// registry:catalog:* for the list of repositories and the metrics. Can be given more than once
    #[arg(long, required = true, value_name = "SCOPE")]
    scope: Vec<Scope>,
    /// When it ends, as in 90d [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<Age>,
}

#[derive(Debug, clap::Args)]
pub struct Revoke {
    /// Which one
    name: String,
}

pub fn run(app: &App, action: &Action) -> Result<ExitCode> {
    let images = app.images()?;
    let tokens = Tokens::of(images.store().home())?;
    match action {
        Action::Create(create) => {
            let expires = create.expires.map(end).transpose()?;
            let secret = tokens.create(&create.name, &create.scope, expires)?;
            if app.global.json {
                let scopes: Vec<String> = create.scope.iter().map(Scope::to_string).collect();
                output::json(
                    &serde_json::json!({"name": create.name, "secret": secret, "scopes": scopes, "expires": expires}),
                )?;
            } else {
                output::line(&secret);
                app.note("this is shown once; keep it where your CI server keeps secrets");
            }
        }
        Action::List => {
            let list = tokens.list()?;
            if app.global.json {
                output::json(&list)?;
            } else {
                let now = Timestamp::now();
                let rows: Vec<_> = list
                    .into_iter()
                    .map(|token| {
                        let end = match token.expires {
                            None => "never".to_owned(),
                            Some(end) if end <= now => format!("ended {}", day(end)),
                            Some(end) => day(end),
                        };
                        vec![token.name, day(token.created), end, token.scopes.join(" ")]
                    })
                    .collect();
                table::print(&["NAME", "CREATED", "ENDS", "SCOPES"], &rows);
            }
        }
        Action::Revoke(revoke) => {
            tokens.revoke(&revoke.name)?;
            app.note(&format!(
                "the token {} opens nothing any more; a server that runs knows it some seconds later",
                revoke.name
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

fn end(age: Age) -> Result<Timestamp> {
    let far =
        || Failure::new(Kind::Usage, "--expires is further away than there are dates").hint("as in --expires 90d");
    let length = SignedDuration::try_from(age.0).map_err(|_| far())?;
    Timestamp::now().checked_add(length).map_err(|_| far())
}
