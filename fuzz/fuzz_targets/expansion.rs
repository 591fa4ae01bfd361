#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shiplap_builder::fuzzing::expansion(data));
