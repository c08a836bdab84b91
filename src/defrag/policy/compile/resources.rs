//! Requests and limits of the container, as far as Kubernetes takes them and a container starts with them.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

use super::read::Reader;
use crate::defrag::{
    finding::{Code, quoted},
    form::is_label_key,
    quantity::{self, MIB, QuantityError},
};

type Quantities = BTreeMap<String, Quantity>;

/// The resources that a container has under a name without a prefix, besides those of [`HUGE_PAGES`].
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const HUGE_PAGES: &str = "hugepages-";
/// No container starts with less memory: a smaller value was meant in another unit.
const LEAST_MEMORY: u64 = MIB;

impl Reader {
    /// What of requests and limits can be kept.
    pub(super) fn resources(&mut self, written: &ResourceRequirements) -> ResourceRequirements {
        let limits = self.quantities("limits", written.limits.as_ref());
        let mut requests = self.quantities("requests", written.requests.as_ref());
        requests.retain(|resource, request| self.is_within_limit(resource, request, limits.get(resource)));
        let some = |list: Quantities| (!list.is_empty()).then_some(list);
        ResourceRequirements { requests: some(requests), limits: some(limits), claims: None }
    }

    /// Quantities as the API server returns them, so that a CronJob that nobody has changed equals the one that was
    /// built.
    fn quantities(&mut self, list: &str, written: Option<&Quantities>) -> Quantities {
        let mut amounts = Quantities::new();
        for (resource, amount) in written.into_iter().flatten() {
            match quantity_of(list, resource, &amount.0) {
                Ok(canonical) => {
                    amounts.insert(resource.clone(), Quantity(canonical));
                }
                Err((brief, why)) => self.refuse(
                    Code::ValueInvalid,
                    format!("spec.job.resources.{list}[{resource}]"),
                    brief,
                    format!("{why} Until that is fixed, it is ignored."),
                ),
            }
        }
        amounts
    }

    /// Whether a request keeps to the limit of the same resource.
    fn is_within_limit(&mut self, resource: &str, request: &Quantity, limit: Option<&Quantity>) -> bool {
        let amount = |quantity: &Quantity| quantity::billionths(&quantity.0).unwrap_or_default();
        let overcommitted = STANDARD.contains(&resource) || resource.contains("kubernetes.io/");
        let problem = match limit {
            Some(limit) if amount(request) > amount(limit) => {
                format!("is above the limit of {}: write at most that, or a higher limit", quoted(&limit.0))
            }
            Some(limit) if !overcommitted && amount(request) < amount(limit) => {
                format!("differs from the limit of {}: of {resource} both have to be the same", quoted(&limit.0))
            }
            None if !overcommitted => format!("has no limit beside it: of {resource} both have to be the same"),
            _ => return true,
        };
        let text = quoted(&request.0);
        self.refuse(
            Code::SettingsConflict,
            format!("spec.job.resources.requests[{resource}]"),
            format!("the request of {resource}, {text}, {problem}"),
            format!(
                "The request of {resource}, {text}, {problem}. Kubernetes would refuse every CronJob of this policy. Until that is \
                 fixed, the request is ignored, and the limit stays."
            ),
        );
        false
    }
}

/// The canonical form of an amount; or a few words and a sentence on what is wrong with it.
fn quantity_of(list: &str, resource: &str, text: &str) -> Result<String, (String, String)> {
    const REFUSED: &str = "Kubernetes would refuse every CronJob of this policy.";
    const LESS: &str = "A part of a byte counts as a byte, so this requests far less than it seems to.";
    if !is_resource(resource) {
        let brief = format!("{} is not a resource of a container", quoted(resource));
        let why = format!(
            "{brief}: write cpu, memory, ephemeral-storage, or the name of an extended resource with its prefix, such as \
             example.com/name. {REFUSED}"
        );
        return Err((brief, why));
    }
    let invalid = |error: QuantityError| {
        let brief = format!("{} is not a quantity", quoted(text));
        let why = format!("{} {error}.", quoted(text));
        (brief, why)
    };
    let canonical = quantity::canonical(text).map_err(invalid)?;
    let in_bytes = matches!(resource, "memory" | "ephemeral-storage") || resource.starts_with(HUGE_PAGES);
    let is_whole = quantity::billionths(text).map_err(invalid)?.is_multiple_of(1_000_000_000);
    if !is_whole && resource != "cpu" {
        let (brief, example) = if in_bytes {
            (format!("{} of {resource} is not a whole number of bytes", quoted(text)), "64Mi")
        } else {
            (format!("{} of {resource} is not a whole number", quoted(text)), "1")
        };
        let unit = if in_bytes { ": m means thousandths, Mi means MiB" } else { "" };
        let why = format!("{brief}{unit}. Write for example \"{example}\". {}", if in_bytes { LESS } else { REFUSED });
        return Err((brief, why));
    }
    let bytes = quantity::parse(text).map_err(invalid)?;
    if (list, resource) == ("limits", "memory") && bytes < LEAST_MEMORY {
        let brief = format!("no container starts with {} of memory", quantity::human(bytes));
        let why = format!(
            "{} is {}, and no container starts with so little memory: every run would fail. Write for example \"128Mi\".",
            quoted(text),
            quantity::human(bytes)
        );
        return Err((brief, why));
    }
    Ok(canonical)
}

/// Whether a container can have a resource of this name.
fn is_resource(name: &str) -> bool {
    if name.contains('/') {
        // One of others is counted by ResourceQuotas, too, under a longer name.
        return is_label_key(name) && !name.starts_with("requests.") && is_label_key(&format!("requests.{name}"))
            || name.contains("kubernetes.io/") && is_label_key(name);
    }
    STANDARD.contains(&name)
        || name.strip_prefix(HUGE_PAGES).is_some_and(|size| quantity::parse(size).is_ok_and(|size| size > 0))
}
