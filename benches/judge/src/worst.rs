//! The worst that a tenant can write: objects of each kind, as large as the API server takes them, and as large as the
//! budget of an assessment takes them.

use std::{hint::black_box, time::Instant};

use etcd_defrag_webhook::{
    admission::{Entry, answer::answer},
    defrag::{
        Surroundings, assess,
        policy::{Governing, Landscape},
        statefulset::StatefulSet,
    },
};
use serde_json::json;

use crate::{
    adversary::{KINDS, LARGEST},
    harness::Result,
    now,
};

pub fn probe(sizes: &[usize]) -> Result {
    let now = now()?;
    let governing = Governing::built_in();
    let landscape = Landscape::default();
    for (name, make) in KINDS {
        print!("{name:<70}");
        for size in sizes {
            let bytes = serde_json::to_vec(&make(*size))?;
            let text = String::from_utf8(bytes.clone())?;
            let review = format!(
                r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{{"uid":"u","operation":"UPDATE","namespace":"db","name":"etcd","resource":{{"group":"apps","version":"v1","resource":"statefulsets"}},"object":{text},"oldObject":{text}}}}}"#
            );
            let began = Instant::now();
            let object: StatefulSet = serde_json::from_slice(&bytes)?;
            let decoded = began.elapsed();
            let began = Instant::now();
            let assessment = assess(&object, &governing, &Surroundings::nothing(), now);
            let judged = began.elapsed();
            let codes = assessment.findings.len();
            black_box(&assessment);
            let began = Instant::now();
            if judged.as_millis() < 2000 {
                black_box(answer(Entry::Validate, "u", review.as_bytes(), &landscape, now));
            }
            let answered = began.elapsed();
            print!(" | {:>7} B {decoded:>9.2?} {judged:>9.2?} {answered:>9.2?} {codes:>6}", bytes.len());
        }
        println!();
    }
    let _ = (json!(null), LARGEST);
    Ok(())
}
