//! End to end: the program as its users meet it, one file for each thing that they do.
//!
//! Every test has a store of its own in a temporary folder, and needs no network but loopback.

mod campus;
mod common;
mod edx;
mod memory_disk;
mod played_engine;
mod registry_server;
mod site;
mod tutor_site;

mod add_from_elsewhere;
mod ask_over_tls;
mod ask_tutor;
mod bad_input;
mod build_an_image;
mod build_in_an_engine;
mod check_a_dockerfile;
mod check_a_registry;
mod ci_jobs;
mod ci_templates;
mod cli_reference;
mod command_line;
mod contexts_from_elsewhere;
mod copy_parents;
mod crash;
mod crash_of_targets;
mod deploy_targets;
mod docker;
mod docker_engine;
mod faulty_proxy;
mod flags_of_docker;
mod imports_point_one_way;
mod inspect_and_compare;
mod keep_a_secret;
mod move_images;
mod outputs_of_docker;
mod plugin_of_docker;
mod read_the_log;
mod real_clients;
mod release_and_roll_back;
mod release_on_a_fresh_runner;
mod reproduce_an_image;
mod reuse_a_step;
mod run_a_tutor_site;
mod run_ahead;
mod run_many_instances;
mod run_without_root;
mod serve_a_registry;
mod serving;
mod share_a_history;
mod share_a_registry;
mod share_cache_mounts;
mod share_in_a_registry;
mod share_the_cache;
mod sign_a_release;
mod split_a_copy;
mod take_space_back;
mod tutor_renders;
mod use_the_terminal;
mod verify_the_store;
mod what_a_release_holds;
mod what_is_in_an_image;

/// A file that no `mod` line names is never compiled, and its tests never fail.
#[test]
fn no_file_of_this_folder_is_forgotten() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let mods = include_str!("main.rs");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(name == "main" || mods.contains(&format!("mod {name};")), "{} is not in main.rs", path.display());
    }
}
