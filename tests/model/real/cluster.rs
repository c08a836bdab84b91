//! A real API server in the place of the one in memory: what it holds becomes the store of the model, and what an event
//! changes in that store is asked of it.

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::http::{Method, Request, header::CONTENT_TYPE};
use kube::Client;
use serde_json::{Value, json};
use tokio::time::sleep;

use etcd_defrag_webhook::defrag::cronjob::{MANAGED_BY, MANAGER};

use crate::{
    events::SLOTS,
    server::State,
    store::{CRONJOBS, Change, Class, JOBS, Key, NAMESPACES, POLICIES, RESOURCES, STATEFULSETS, key, uid_of},
};
use harness::client;

/// What the model looks at.
const LOOKED_AT: [&str; 5] = [NAMESPACES, POLICIES, STATEFULSETS, CRONJOBS, JOBS];

/// Why an event did not happen as a whole.
pub(super) enum Hitch {
    /// Somebody was quicker: look again and try again.
    Conflict,
    /// The API server refuses such an object, in these words.
    Refused(String),
}

/// Whose a CronJob is that the sequence made, and the version in which it was left.
struct Author {
    class: Class,
    at: Key,
    version: Value,
}

pub(super) struct Cluster {
    client: Client,
    authors: BTreeMap<String, Author>,
    pub(super) no_policies: bool,
}

impl Cluster {
    pub(super) async fn new(kubeconfig: &Path) -> Self {
        Self { client: client(kubeconfig).await, authors: BTreeMap::new(), no_policies: true }
    }

    /// What is there now, as the model sees it.
    pub(super) async fn look(&mut self) -> State {
        let mut state = State::new(0);
        state.no_policies = self.no_policies;
        for resource in LOOKED_AT {
            if resource == POLICIES && self.no_policies {
                continue;
            }
            let list = self.patiently(Method::GET, &path(&key(resource, "", "")), "", &Value::Null).await;
            for mut object in list["items"].as_array().cloned().unwrap_or_default() {
                let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
                let at = key(resource, &text("namespace"), &text("name"));
                if !ours(&at) {
                    continue;
                }
                // The model gives a Job a status when it ends, the controller of Jobs when it begins.
                if resource == JOBS && !has_ended(&object) {
                    object.as_object_mut().unwrap().remove("status");
                }
                let class = self.class(&object);
                state.store.load(&at, object, class);
            }
        }
        state.violations = self.violations(&state);
        state
    }

    /// The class of an object. What defrag.sh made is ours from its adoption on.
    fn class(&mut self, object: &Value) -> Class {
        let uid = uid_of(object);
        let class = self.authors.get(&uid).map_or(Class::Plain, |author| author.class);
        if class == Class::Adoptable && object["metadata"]["labels"][MANAGED_BY] == MANAGER {
            self.authors.remove(&uid);
            return Class::Plain;
        }
        class
    }

    /// What happened to CronJobs that nobody but their author may touch.
    fn violations(&self, state: &State) -> Vec<String> {
        let touched = |(uid, author): (&String, &Author)| {
            let Author { at, version, .. } = author;
            let place = format!("the foreign CronJob {}/{}", at.namespace, at.name);
            match state.store.get(at).filter(|live| uid_of(live) == *uid) {
                None => Some(format!("{place} is gone")),
                Some(live) if live["metadata"]["resourceVersion"] != *version => {
                    Some(format!("{place} was written to"))
                }
                Some(_) => None,
            }
        };
        self.authors.iter().filter(|(_, author)| author.class == Class::Foreign).filter_map(touched).collect()
    }

    /// Asks for what an event changed in the store.
    pub(super) async fn carry_out(&mut self, change: &Change) -> Result<(), Hitch> {
        let at = &change.key;
        match (&change.before, &change.after) {
            (Some(before), None) => self.delete(at, before, "Background").await,
            (None, Some(after)) => {
                let class = change.class;
                let manager = match class {
                    Class::Plain => "kubectl",
                    Class::Foreign => "argocd",
                    Class::Adoptable => "kubectl-client-side-apply",
                };
                let mut object = (**after).clone();
                for field in ["uid", "resourceVersion", "creationTimestamp", "generation", "managedFields"] {
                    object["metadata"].as_object_mut().unwrap().remove(field);
                }
                let collection = path(&Key { name: String::new(), ..at.clone() });
                let made = self.ask(Method::POST, &format!("{collection}?fieldManager={manager}"), "", &object).await?;
                if class != Class::Plain {
                    let version = made["metadata"]["resourceVersion"].clone();
                    self.authors.insert(uid_of(&made), Author { class, at: at.clone(), version });
                }
                self.status(at, after).await
            }
            (Some(before), Some(after)) => {
                if at.resource != JOBS {
                    let mut object = (**after).clone();
                    object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
                    object["metadata"].as_object_mut().unwrap().remove("managedFields");
                    self.ask(Method::PUT, &format!("{}?fieldManager=kubectl", path(at)), "", &object).await?;
                }
                self.status(at, after).await
            }
            (None, None) => Ok(()),
        }
    }

    pub(super) async fn delete(&mut self, at: &Key, live: &Value, propagation: &str) -> Result<(), Hitch> {
        self.authors.remove(&uid_of(live));
        let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation});
        self.ask(Method::DELETE, &path(at), "", &options).await.map(drop)
    }

    /// What the controllers that do not run here would write: that members are ready, and that Jobs have ended.
    async fn status(&mut self, at: &Key, object: &Value) -> Result<(), Hitch> {
        let status = match at.resource {
            STATEFULSETS => {
                let ready = &object["status"]["readyReplicas"];
                json!({"replicas": ready, "readyReplicas": ready})
            }
            JOBS => {
                let last = &object["status"]["conditions"][0];
                let first = if last["type"] == "Failed" { "FailureTarget" } else { "SuccessCriteriaMet" };
                let mut first = json!({"type": first, "status": "True"});
                let now = &last["lastTransitionTime"];
                first["lastTransitionTime"] = now.clone();
                let ended = if last["type"] == "Failed" { &Value::Null } else { now };
                json!({"completionTime": ended, "conditions": [first, last], "active": null, "ready": null})
            }
            _ => return Ok(()),
        };
        let path = format!("{}/status", path(at));
        self.ask(Method::PATCH, &path, "application/merge-patch+json", &json!({"status": status})).await.map(drop)
    }

    async fn ask(&self, method: Method, path: &str, content: &str, body: &Value) -> Result<Value, Hitch> {
        match self.once(method.clone(), path, content, body).await {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) if status.code == 404 && method == Method::DELETE => Ok(Value::Null),
            Err(kube::Error::Api(status)) if [403, 404, 422].contains(&status.code) => {
                Err(Hitch::Refused(status.message))
            }
            // A conflict, or a connection to an API server that starts again.
            Err(_) => Err(Hitch::Conflict),
        }
    }

    async fn patiently(&self, method: Method, path: &str, content: &str, body: &Value) -> Value {
        for _ in 0..600 {
            match self.once(method.clone(), path, content, body).await {
                Ok(answer) => return answer,
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
        panic!("{method} {path}: no answer for a minute")
    }

    async fn once(&self, method: Method, path: &str, content: &str, body: &Value) -> kube::Result<Value> {
        let content = if content.is_empty() { "application/json" } else { content };
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, content).body(body).unwrap();
        self.client.request(request).await
    }

    /// Whether the API server serves policies.
    pub(super) async fn knows_policies(&self) -> bool {
        self.once(Method::GET, &path(&key(POLICIES, "", "")), "", &Value::Null).await.is_ok()
    }
}

fn has_ended(job: &Value) -> bool {
    let conditions = job["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Complete" || one["type"] == "Failed"))
}

/// Whether a sequence made it, or the controller for what a sequence made.
fn ours(at: &Key) -> bool {
    let namespace = if at.resource == NAMESPACES { &at.name } else { &at.namespace };
    at.resource == POLICIES || SLOTS.iter().any(|(name, _)| name == namespace)
}

/// Where an object is, or all of a kind.
fn path(at: &Key) -> String {
    let (_, version, _) = RESOURCES.iter().find(|(resource, ..)| *resource == at.resource).unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    let namespace = if at.namespace.is_empty() { String::new() } else { format!("namespaces/{}/", at.namespace) };
    let path = format!("/{root}/{version}/{namespace}{}/{}", at.resource, at.name);
    path.trim_end_matches('/').to_owned()
}
