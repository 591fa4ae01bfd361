#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let room = tempfile::tempdir().expect("a folder");
    shiplap_registry::fuzzing::tar(data, room.path());
});
