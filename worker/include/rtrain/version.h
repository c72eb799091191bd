#pragma once

/// The version of this SDK. A training library runs in a worker of the same version (a test holds this
/// against the project's).
#define RTRAIN_SDK_VERSION "0.1.0"
