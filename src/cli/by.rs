//! Who makes a change, as they say.

use clap::Args;

use crate::audit::{Author, Via};

/// Who makes the change.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct By {
    /// Who makes the change, for the audit [default: the user and the host]
    #[arg(long, value_name = "NAME", env = "LETHE_BY")]
    by: Option<String>,
}

impl By {
    pub(super) fn author(&self) -> Author {
        let user = || {
            let named = std::env::var("USER").ok().filter(|name| !name.is_empty());
            named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
        };
        let host = gethostname::gethostname();
        let own = || format!("{}@{}", user(), host.to_string_lossy());
        Author { by: self.by.clone().unwrap_or_else(own), via: Via::Cli }
    }
}
