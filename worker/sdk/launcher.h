// Runs a job through the `rtrain` program.
#pragma once

#include <rtrain/result.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace rtrain::sdk {

/// A text of any size for other processes of the same user, without a file that could be left behind.
class UnnamedFile {
 public:
  /// @throws std::runtime_error names `purpose`
  UnnamedFile(const char* purpose, const std::string& text);
  ~UnnamedFile();
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  /// By which others open it, as long as this object lives.
  [[nodiscard]] std::string path() const;

 private:
  int fd_;
};

/// Where `rtrain` is: $RTRAIN_BIN, beside librtrain.so (../bin/rtrain, ./rtrain), PATH. @throws
/// std::runtime_error names them.
[[nodiscard]] std::string find_rtrain();
/// `rtrain run - -o json` with `spec` on its stdin and `environment` added to its own; stderr passes through.
/// @throws std::runtime_error it cannot be started, or ended without a result.
[[nodiscard]] nlohmann::json run_job(const nlohmann::json& spec, const std::vector<std::string>& environment);

/// The document of `rtrain run -o json` and back, as far as a Result holds it.
[[nodiscard]] TrainingResult result_of(const nlohmann::json& document);

}  // namespace rtrain::sdk
