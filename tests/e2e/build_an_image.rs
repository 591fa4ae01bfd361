//! `shiplap build` and `shiplap plan` on a Dockerfile.

use crate::common::Home;

#[test]
fn a_dockerfile_becomes_an_image() {
    let home = Home::with_base();
    let built = home.build("app:1", "FROM base:1\nRUN echo hello >/greeting\nCMD [\"cat\", \"/greeting\"]\n", &[]);
    assert_eq!(built.ran(), ["RUN echo hello >/greeting"]);
    assert_eq!(home.file("app:1", "greeting"), "hello\n");
}
