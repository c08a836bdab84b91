//! Runs of the CronJob that defragments an etcd of pods.

use std::time::Duration;

use serde_json::Value;

use super::{EtcdPods, eventually};

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobEnd {
    pub succeeded: bool,
    /// The reason of its last condition, such as `BackoffLimitExceeded`.
    pub reason: String,
    pub message: String,
}

impl EtcdPods<'_> {
    /// The name of its CronJob.
    pub fn cronjob_name(&self) -> String {
        format!("{}-defrag-job", self.name())
    }

    /// Waits for its CronJob.
    #[track_caller]
    pub fn cronjob(&self) -> Value {
        let name = self.cronjob_name();
        eventually(&format!("CronJob {}/{name}", self.namespace), Duration::from_secs(30), || {
            self.plane.get(&["-n", &self.namespace, "cronjob", &name])
        })
    }

    /// Creates a Job of the CronJob, as a person does who will not wait for the
    /// schedule.
    #[track_caller]
    pub fn create_job(&self, job: &str) {
        self.cronjob();
        let from = format!("--from=cronjob/{}", self.cronjob_name());
        self.plane.kubectl_ok(&["-n", &self.namespace, "create", "job", job, &from]);
    }

    /// Waits for the end of a Job, however it ends.
    #[track_caller]
    pub fn job_end(&self, job: &str, limit: Duration) -> JobEnd {
        let what = format!("Job {}/{job} to end", self.namespace);
        eventually(&what, limit, || {
            let object = self.plane.get(&["-n", &self.namespace, "job", job])?;
            let conditions = object["status"]["conditions"].as_array()?;
            conditions.iter().find_map(|condition| {
                let succeeded = match condition["type"].as_str()? {
                    "Complete" => true,
                    "Failed" => false,
                    _ => return None,
                };
                let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
                (condition["status"] == "True").then(|| JobEnd {
                    succeeded,
                    reason: text("reason"),
                    message: text("message"),
                })
            })
        })
    }

    /// What the engine wrote in a Job's pod.
    pub fn job_log(&self, job: &str) -> String {
        let output = self.plane.kubectl(["-n", &self.namespace, "logs", &format!("job/{job}")]);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Creates a Job of the CronJob, waits until it has succeeded and returns
    /// its log.
    #[track_caller]
    pub fn run_job(&self, job: &str, limit: Duration) -> String {
        self.create_job(job);
        let end = self.job_end(job, limit);
        let log = self.job_log(job);
        assert!(end.succeeded, "Job {}/{job} failed: {end:?}\n{log}", self.namespace);
        log
    }
}
