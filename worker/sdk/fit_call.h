// How a program that calls fit() is run again as its own worker, and finds the call there that it is for.
//
// A program may call fit() several times, of TorchTrainer and of Tuner. Variables tell a worker for which of
// the calls it runs, and what those before gave.
#pragma once

#include "worker/sdk/launcher.h"

#include <nlohmann/json.hpp>

#include <optional>
#include <string>
#include <vector>

namespace rtrain::sdk {

/// One call of fit(). @thread one thread of a program calls fit().
class FitCall {
 public:
  /// Counts the calls of this process. `who`: "TorchTrainer", for errors.
  explicit FitCall(std::string who);
  FitCall(const FitCall&) = delete;
  FitCall& operator=(const FitCall&) = delete;

  /// In a worker: it runs for this very call.
  [[nodiscard]] bool is_wanted() const;
  /// In a worker of a later call: what this one gave. @throws std::runtime_error
  [[nodiscard]] nlohmann::json earlier_result() const;

  /// In the program itself: the variables for its workers. `told`: a file that they append to, "" none. The
  /// object outlives them.
  [[nodiscard]] std::vector<std::string> variables(const std::string& told);
  /// In the program itself, once: what later calls find in their workers.
  static void gave(nlohmann::json result);

 private:
  std::string who_;
  int number_;
  std::optional<UnnamedFile> results_;
};

/// The command that runs this program again. @throws std::runtime_error /proc is not mounted.
[[nodiscard]] std::vector<std::string> own_command();

/// In a worker: the file that the program reads while it waits; "": it reads nothing.
[[nodiscard]] std::string told_file();
/// In a worker: appends a line to it. The program may have ended, and the job goes on then.
void tell(const std::string& file, const nlohmann::json& line);

inline constexpr std::size_t kFitResultsBytesMax = 256u << 20;

}  // namespace rtrain::sdk
