//! Content store, layer indices, trees and the step cache
