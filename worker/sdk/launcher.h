// Runs a job through the `rtrain` program.
#pragma once

#include <rtrain/result.h>

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace rtrain::sdk {

/// Passes text of any size to other processes of the same user, without a file that could be left behind.
class UnnamedFile {
 public:
  /// @throws std::runtime_error names `purpose`
  UnnamedFile(const char* purpose, const std::string& text);
  ~UnnamedFile();
  UnnamedFile(const UnnamedFile&) = delete;
  UnnamedFile& operator=(const UnnamedFile&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  /// The path by which others open it while this object exists.
  [[nodiscard]] std::string path() const;
  /// What is in it now. @throws std::runtime_error
  [[nodiscard]] std::string text() const;

 private:
  int fd_;
};

/// The path of `rtrain`: $RTRAIN_BIN, beside librtrain.so (../bin/rtrain, ./rtrain), or on PATH.
/// @throws std::runtime_error names the places searched.
[[nodiscard]] std::string find_rtrain();
/// Runs `rtrain run - -o json` with `spec` on its stdin and `environment` added to its environment; stderr is
/// inherited.
/// @throws std::runtime_error if it cannot be started or ends without a result.
[[nodiscard]] nlohmann::json run_job(const nlohmann::json& spec, const std::vector<std::string>& environment);

/// The same with `rtrain sweep run`; {"sweep": ..., "trials": [...]}.
[[nodiscard]] nlohmann::json run_sweep(const nlohmann::json& spec,
                                       const std::vector<std::string>& environment);

/// Converts the document of `rtrain run -o json`.
[[nodiscard]] TrainingResult result_of(const nlohmann::json& document);

}  // namespace rtrain::sdk
