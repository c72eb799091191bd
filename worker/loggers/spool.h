// Requests that wait in a file, as JSON lines: the run first, then each request.
#pragma once

#include "worker/loggers/mlflow_client.h"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace rtrain::loggers {

/// @thread one.
class Spool {
 public:
  /// Opens nothing. A file that is there already waits from its beginning: part of it may be sent twice,
  /// which MLflow takes.
  explicit Spool(std::filesystem::path file);
  [[nodiscard]] const std::filesystem::path& file() const { return file_; }
  [[nodiscard]] bool empty() const { return empty_; }
  /// The run that the file begins with. @throws std::runtime_error names the file and what is wrong.
  [[nodiscard]] MLFlowRun run() const;
  /// Makes the file with `run`, if it is not there. @throws std::runtime_error names the file and the cause.
  void append(const MLFlowRun& run, const std::vector<MLFlowRequest>& requests);
  /// The first request that is not done; nullopt: none is left. A line that was cut by a crash ends the file.
  [[nodiscard]] std::optional<MLFlowRequest> next();
  void done();    ///< with next()
  void remove();  ///< all are done

 private:
  std::filesystem::path file_;
  bool empty_;
  std::uint64_t at_ = 0, after_next_ = 0;  ///< offsets in the file
};

}  // namespace rtrain::loggers
