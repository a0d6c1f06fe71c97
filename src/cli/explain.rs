//! `portcullis explain`: why a request would be decided as it would.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{Configured, EXIT_CONFIG, EXIT_FAILED, complain, printed, say};
use crate::config::{self, Loaded, Report};
use crate::explain::{Asked, Explanation, Question};
use crate::limits::Unlimited;
use crate::server::clock;
use crate::token::jws::MAX_TOKEN_BYTES;

/// What is asked, and by which configuration.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    configured: Configured,
    /// What is asked for, such as https://shop.example.com/orders/7.
    #[arg(long)]
    url: String,
    /// The method.
    #[arg(long, default_value = "GET")]
    method: String,
    /// A file with a bearer token.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A header line that decisions look at, such as a cookie; other programs can see it.
    #[arg(long, value_name = "NAME: VALUE", value_parser = line)]
    header: Vec<(String, String)>,
    /// The client's address.
    #[arg(long, value_name = "ADDRESS", default_value = "192.0.2.1")]
    client: IpAddr,
    /// The rule set that the proxy names.
    #[arg(long, value_name = "NAME")]
    set: Option<String>,
    /// Fetches the issuers' keys first, once and as the gate would.
    #[arg(long)]
    fetch: bool,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

fn line(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

/// Explains a decision. Succeeds if the request would pass.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let unusable = |why: &str| {
        complain(why);
        ExitCode::from(EXIT_CONFIG)
    };
    let loaded = match load(&options.configured) {
        Ok(loaded) => loaded,
        Err(report) => return unusable(&report.to_string()),
    };
    let question = options.asked().and_then(|asked| Question::new(&asked));
    let question = match question {
        Ok(question) => question,
        Err(why) => return unusable(&format!("portcullis explain: {why}")),
    };
    let explanation = actix_web::rt::System::new().block_on(async {
        if options.fetch {
            for source in &loaded.sources {
                if let Err(why) = source.once(&loaded.keys).await {
                    complain(&format!("keys cannot be fetched: {why}"));
                }
            }
        }
        // How full buckets are the running gate knows; its store is not asked from here.
        let gate = loaded.gate.limited_by(Arc::new(Unlimited));
        Explanation::of(&gate, &question, clock::now()).await
    });
    say(&if options.json { printed::pretty(&explanation.json()) } else { explanation.to_string() });
    if loaded.revocations.is_some() {
        complain("what is revoked only the running gate knows: ask its POST /explain");
    }
    if explanation.is_allowed() { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

/// Here nothing is loaded of what is revoked; by the gate's own settings it would refuse every token for that.
fn load(configured: &Configured) -> Result<Loaded, Report> {
    let mut flags = configured.flags();
    let loaded = config::load(&configured.config, &flags)?;
    if loaded.revocations.is_none() {
        return Ok(loaded);
    }
    flags.push(("revocations.on_stale".to_owned(), "danger_go_on".to_owned()));
    config::load(&configured.config, &flags)
}

impl Options {
    fn asked(&self) -> Result<Asked, String> {
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in &self.header {
            headers.entry(name.clone()).or_default().push(value.clone());
        }
        Ok(Asked {
            url: self.url.clone(),
            method: self.method.clone(),
            client: self.client,
            set: self.set.clone(),
            token: self.token_file.as_deref().map(token).transpose()?,
            headers,
        })
    }
}

/// As much of the file as a token may have and more, so that one that is too long is.
fn token(path: &Path) -> Result<String, String> {
    let most = u64::try_from(MAX_TOKEN_BYTES).unwrap_or(u64::MAX).saturating_mul(2);
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(most).read_to_string(&mut text));
    read.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(text)
}
