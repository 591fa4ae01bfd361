//! What differs between two builds of `examples/campus` by one builder too; its README says why.

/// Paths that need not be there, or need not have the same content.
pub fn differs(path: &str) -> bool {
    let dist_info = path.starts_with("openedx/venv/") && path.contains("/campus_") && path.contains(".dist-info/");
    path.starts_with("openedx/.npm/_logs")
        || path.starts_with("openedx/.cache/python-entrypoints/")
        || path.starts_with("tmp/node-compile-cache")
        || (dist_info && (path.ends_with("/uv_cache.json") || path.ends_with("/RECORD")))
}

/// Time and size of the source are in the header of compiled Python.
pub fn without_times(path: &str, content: &mut [u8]) {
    if path.ends_with(".pyc") && content.len() >= 16 {
        content[4..16].fill(0);
    }
}
