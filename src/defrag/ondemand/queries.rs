//! The queries of Prometheus.

/// What Prometheus is queried for, once in each interval for all etcds at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// The size of each member's database file, in bytes.
    Size,
    /// The part of it that holds data, in bytes.
    InUse,
    /// The quota that the member runs with, in bytes.
    Quota,
    /// When the size was scraped, in seconds since 1970: an instant query says when it was asked, not how old a value is.
    ScrapedAt,
    /// Members of an etcd with the alarm CORRUPT; most etcds have no such series.
    Corrupt,
}

impl Metric {
    /// Every metric, in the order of the queries.
    pub const ALL: [Self; 5] = [Self::Size, Self::InUse, Self::Quota, Self::ScrapedAt, Self::Corrupt];

    /// The name of the metric in a report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "database size",
            Self::InUse => "size in use",
            Self::Quota => "quota",
            Self::ScrapedAt => "time of the scrape",
            Self::Corrupt => "alarm CORRUPT",
        }
    }
}

/// The queries, and the labels that name the pod of a series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Queries {
    /// For [`Metric::Quota`].
    pub quota: String,
    /// For [`Metric::InUse`].
    pub in_use: String,
    /// For [`Metric::Size`].
    pub size: String,
    /// For [`Metric::Corrupt`].
    pub corrupt: String,
    /// The label with the namespace of the pod.
    pub namespace: String,
    /// The label with the name of the pod.
    pub pod: String,
}

impl Default for Queries {
    fn default() -> Self {
        Self {
            quota: "etcd_server_quota_backend_bytes".to_owned(),
            in_use: "etcd_mvcc_db_total_size_in_use_in_bytes".to_owned(),
            size: "etcd_mvcc_db_total_size_in_bytes".to_owned(),
            corrupt: "etcd_debugging_server_alarms{alarm_type=\"CORRUPT\"} > 0".to_owned(),
            namespace: "namespace".to_owned(),
            pod: "pod".to_owned(),
        }
    }
}

impl Queries {
    /// The query for one metric.
    #[must_use]
    pub fn of(&self, metric: Metric) -> String {
        match metric {
            Metric::Size => self.size.clone(),
            Metric::InUse => self.in_use.clone(),
            Metric::Quota => self.quota.clone(),
            Metric::ScrapedAt => format!("timestamp({})", self.size),
            Metric::Corrupt => self.corrupt.clone(),
        }
    }

    /// The growth of the data in use in bytes a second, over the last day; the days to the quota are computed from it.
    #[must_use]
    pub fn growth(&self) -> String {
        format!("deriv(({})[1d:10m])", self.in_use)
    }
}
