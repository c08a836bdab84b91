//! On-demand defragmentation as it is in force under a policy.

use std::time::Duration;

use crate::defrag::ondemand::{Pace, Queries};

/// Whom to ask and when to start a run because of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct OnDemand {
    /// Whom to ask; etcds under policies that ask the same are asked for together.
    pub source: Source,
    /// How eager to be.
    pub pace: Pace,
    /// How many etcds are defragmented at a time.
    pub max_concurrent: u32,
}

/// A Prometheus and its queries.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source {
    /// Its URL without `/api/v1`, and without a slash at its end.
    pub url: String,
    /// The name of the file with the certificate authority.
    pub ca_file: Option<String>,
    /// How to log in.
    pub credentials: Option<Credentials>,
    /// How often it is asked.
    pub interval: Duration,
    /// How long all answers may take together.
    pub timeout: Duration,
    /// How old a scrape may be.
    pub fresh: Duration,
    /// What is asked.
    pub queries: Queries,
}

/// How to log in to a Prometheus, by names of files.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Credentials {
    /// The file with a bearer token.
    Bearer(String),
    /// A user name and the file with its password.
    Basic {
        /// The user name.
        username: String,
        /// The file.
        password_file: String,
    },
}
