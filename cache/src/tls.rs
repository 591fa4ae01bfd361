//! Which implementation of TLS this process uses.

use std::sync::Once;

/// Says which implementation of TLS this process uses; reqwest is built without one of its own. Harmless the second time.
pub fn install_tls() {
    static PROVIDER: Once = Once::new();
    // That somebody installed one before us is as good.
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
