//! Writes of StatefulSets through the API server: at a steady rate, and as many as it can take.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use harness::{API_SERVER, ControlPlane, client, example_etcd, percentile, processor_seconds};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::interval};

use crate::Result;

/// StatefulSets, and at saturation writers, each with a connection of its own.
const OBJECTS: usize = 8;
/// Between two writes at a steady rate: far from what saturates two cores.
pub(crate) const PACE: Duration = Duration::from_millis(16);
/// Writes at a steady rate in a turn.
const STEADY: usize = 400;
/// How long a turn at saturation is.
const SATURATED: Duration = Duration::from_secs(3);

/// What is changed.
#[derive(Clone, Copy)]
pub(crate) enum Write {
    OurKey,
    AnotherKey,
    Specification,
}

impl Write {
    pub(crate) const ALL: [Self; 3] = [Self::OurKey, Self::AnotherKey, Self::Specification];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OurKey => "our key",
            Self::AnotherKey => "another key",
            Self::Specification => "specification",
        }
    }

    /// A change that no earlier one made.
    fn patch(self, count: u64) -> Value {
        match self {
            Self::OurKey => {
                let schedule = format!("{} {} * * *", count % 60, count / 60 % 24);
                json!({"metadata": {"annotations": {"etcd-defrag.io/schedule": schedule}}})
            }
            Self::AnotherKey => json!({"metadata": {"annotations": {"team": format!("{count}")}}}),
            Self::Specification => json!({"spec": {"minReadySeconds": count}}),
        }
    }
}

/// How long writes took, in milliseconds.
pub(crate) struct Steady {
    pub(crate) median: f64,
    pub(crate) p99: f64,
}

/// Writes in a second, and seconds of the API server's processor for one.
pub(crate) struct Saturated {
    pub(crate) rate: f64,
    pub(crate) cost: f64,
}

/// Labelled StatefulSets without members, each with a client of its own.
pub(crate) struct Load {
    objects: Vec<Api<StatefulSet>>,
    /// The process of the API server.
    server: u32,
    /// Changes so far.
    count: AtomicU64,
}

fn name(object: usize) -> String {
    format!("etcd-{object}")
}

impl Load {
    pub(crate) async fn start(plane: &ControlPlane) -> Result<Self> {
        let server = plane.component(API_SERVER).pid().ok_or("the API server does not run")?;
        let mut objects = Vec::new();
        for number in 0..OBJECTS {
            let api = Api::<StatefulSet>::namespaced(client(plane.kubeconfig()).await, "default");
            let mut object = example_etcd("default", &name(number), &[]);
            object["spec"]["replicas"] = json!(0);
            api.create(&PostParams::default(), &serde_json::from_value(object)?).await?;
            objects.push(api);
        }
        Ok(Self { objects, server, count: AtomicU64::new(1) })
    }

    async fn write(object: usize, api: Api<StatefulSet>, patch: Value) -> kube::Result<f64> {
        let begun = Instant::now();
        api.patch(&name(object), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    }

    /// Writes at a steady rate, whether earlier ones have been answered or not.
    pub(crate) async fn steady(&self, write: Write) -> Result<Steady> {
        let mut ticks = interval(PACE);
        let mut calls = JoinSet::new();
        for call in 0..STEADY {
            ticks.tick().await;
            let object = call % self.objects.len();
            calls.spawn(Self::write(object, self.objects[object].clone(), write.patch(self.next())));
        }
        let times = calls.join_all().await.into_iter().collect::<kube::Result<Vec<f64>>>()?;
        let of = |share| percentile(&times, share).ok_or("nothing was written");
        Ok(Steady { median: of(50)?, p99: of(99)? })
    }

    /// Each StatefulSet is written again as soon as it was written.
    pub(crate) async fn saturated(&self, write: Write) -> Result<Saturated> {
        let (begun, busy) = (Instant::now(), processor_seconds(self.server));
        let all = self.objects.iter().enumerate().map(async |(object, api)| {
            let mut writes = 0_u32;
            while begun.elapsed() < SATURATED {
                Self::write(object, api.clone(), write.patch(self.next())).await?;
                writes += 1;
            }
            Ok::<_, kube::Error>(writes)
        });
        let writes: u32 = futures::future::try_join_all(all).await?.iter().sum();
        let (took, busy) = (begun.elapsed().as_secs_f64(), processor_seconds(self.server) - busy);
        Ok(Saturated { rate: f64::from(writes) / took, cost: busy / f64::from(writes) })
    }

    fn next(&self) -> u64 {
        self.count.fetch_add(1, Ordering::Relaxed)
    }
}
