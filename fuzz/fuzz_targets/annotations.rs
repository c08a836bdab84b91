//! See the module of this name for the input and the properties.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| etcd_defrag_webhook_fuzz::annotations::check(input));
