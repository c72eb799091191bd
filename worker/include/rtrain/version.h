// The version of the SDK.
#pragma once

/// A training library runs only in a worker of the same version (a test compares it with the project's).
#define RTRAIN_SDK_VERSION "0.1.0"
