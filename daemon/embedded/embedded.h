// A head and one agent in the calling process, on private Unix sockets: `rtrain run`.
#pragma once

#include "common/base/result.h"

#include <memory>
#include <string>

namespace rtrain::embedded {

struct Options {
  std::string state_dir;                       ///< made if missing; sockets, logs and records live here
  std::string worker_program, keeper_program;  ///< "" : beside the running program
  bool with_zygote = true;                     ///< false for command jobs: LibTorch is not loaded
  std::string log_level = "warn";
};

/// Runs both on a thread of its own from open() to the destructor, which stops them cleanly (no process stays
/// behind).
class EmbeddedCluster {
 public:
  /// Jobs can be submitted at once; they start as soon as the agent has registered. kIo with the cause.
  [[nodiscard]] static Result<std::unique_ptr<EmbeddedCluster>> open(const Options& options);
  ~EmbeddedCluster();
  /// "unix:/.../api.sock" for the API client.
  [[nodiscard]] const std::string& api_endpoint() const;

 private:
  struct Impl;
  explicit EmbeddedCluster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace rtrain::embedded
