//! Errors of the API server, for people.

/// An error in one line. kube's own text repeats the whole answer of the API server, and leaves out why it has none.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("the API server answers {} {}: {}", status.code, status.reason, status.message)
        }
        other => {
            let cause = std::iter::successors(std::error::Error::source(other), |error| error.source()).last();
            let cause = cause.map_or_else(|| other.to_string(), ToString::to_string);
            format!("the API server cannot be reached: {cause}")
        }
    }
}
