#include "daemon/core/failure.h"

#include "common/base/fault.h"
#include "common/base/lost_peer.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace rtrain::core {

using proto::FailureClass;

namespace {

constexpr double kBackOffMaxS = 60;

template <std::size_t N>
bool has_any(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::ranges::any_of(
      words, [&](std::string_view word) { return text.find(word) != std::string_view::npos; });
}

/// As CUDA tells of a device that broke, is held by another, or has no driver that fits (texts of
/// cudaGetErrorString).
constexpr std::array<std::string_view, 10> kHardware{
    "uncorrectable ECC error",        "uncorrectable NVLink error",
    "hardware stack error",           "over nvlink or a hardware error",
    "is/are busy or unavailable",     "system not yet initialized",
    "driver version is insufficient", "no CUDA-capable device is detected",
    "Failed to initialize NVML",      "system has unsupported display driver"};

Cause of_node(std::string why = {}) { return {FailureClass::kInfrastructure, false, true, std::move(why)}; }
Cause of_network(std::string why = {}) {
  return {FailureClass::kInfrastructure, false, false, std::move(why)};
}
/// Somebody did it, and nothing tells that it was the node: the job may have done it itself.
Cause of_outside(std::string why) { return {FailureClass::kInfrastructure, false, false, std::move(why)}; }
Cause user() { return {}; }

Cause classify_signal(int signal, const proto::RankError& error) {
  switch (signal) {
    case 9: return of_outside("SIGKILL came from outside");
    case 15:
    case 1:
    case 2: return of_outside("the signal came from outside");
    case 6: break;
    default: return user();
  }
  const bool nccl = std::ranges::any_of(error.log_tail, [](const std::string& line) {
    return line.find("NCCL") != std::string::npos && tells_of_lost_peer(line);
  });
  return nccl ? of_network("NCCL gave up on a rank that died") : user();
}

/// "failure 2 (why), max_failures is 3"
std::string nth(int count, const std::string& why, int limit, const char* key) {
  return "failure " + std::to_string(count) + (why.empty() ? "" : " (" + why + ")") + ", " + key + " is " +
         std::to_string(limit) + (limit < 0 ? ": for ever" : "");
}

std::string in_seconds(double delay_s) {
  return delay_s == 0 ? "at once" : "in " + std::to_string(std::lround(delay_s)) + " s";
}

}  // namespace

Cause classify(const proto::RankError& error, const proto::ExitStatus& status, bool any_started) {
  const auto& kind = error.kind;
  if (kind == proto::kInvalidHyperparameters) return user();
  if (kind == "exception" || kind == "load") {
    if (tells_of_lost_peer(error.message))
      return of_network("it lost a connection, as when another rank dies");
    if (has_any(error.message, kHardware)) return of_node("the device is broken");
    return user();
  }
  if (kind == "exec" || kind == "oom") return user();
  if (kind == "hardware") return of_node("its memory or a GPU cannot be used");
  if (kind == "spawn") return of_node();
  if (kind == "lost") {
    auto cause = of_node();
    cause.never_started = !any_started;
    return cause;
  }
  if (kind == "lease") return of_node();
  if (kind == "unkillable")
    return of_node("its process does not end on SIGKILL: a device, a driver or a file server hangs");
  if (kind == "timeout" || kind == "hang") return of_network();
  if (status.signal) return classify_signal(*status.signal, error);
  if (status.lost) return of_node();
  return user();
}

Verdict decide(const proto::FailureConfig& config, const FailureHistory& history, const Failure& failure) {
  Verdict verdict;
  verdict.counted = !failure.cause.never_started;
  verdict.delay_s = back_off_s(failure.reported ? 1 : history.in_row + 1);
  const int limit = verdict.counted ? config.max_failures : config.controller_failure_limit;
  const int before = verdict.counted ? history.failures : history.controller_failures;
  verdict.retry =
      limit < 0 || before < limit || (fault::on(fault::Fault::kOneRetryTooMany) && before == limit);

  const std::string what =
      verdict.counted ? std::string(to_string(failure.cause.failure_class)) + " " +
                            nth(before + 1, failure.cause.why, limit, "max_failures")
                      : "the attempt could not be started, which is no failure of the job (" +
                            nth(before + 1, failure.cause.why, limit, "controller_failure_limit") + ")";
  const bool again = failure.cause.failure_class == FailureClass::kUser && failure.before_first_step &&
                     history.last && history.last->before_first_step &&
                     history.last->failure_class == FailureClass::kUser &&
                     history.last->kind == failure.kind && history.last->message == failure.message;
  if (failure.kind == proto::kInvalidHyperparameters) {
    verdict.retry = false;
    verdict.reason =
        what + ": not restarted, the training function says that its hyperparameters cannot be trained";
  } else if (verdict.retry && again) {
    verdict.retry = false;
    verdict.reason = what +
                     ": not restarted, the same error came twice running before the first step, so another "
                     "try would not help";
  } else {
    verdict.reason =
        what + ": " + (verdict.retry ? "restarted " + in_seconds(verdict.delay_s) : "not restarted");
  }
  if (!verdict.retry) verdict.delay_s = 0;
  return verdict;
}

bool may_yield(const proto::FailureConfig& config, const FailureHistory& history, proto::YieldCause cause) {
  if (cause == proto::YieldCause::kPruned || cause == proto::YieldCause::kFinished ||
      cause == proto::YieldCause::kReplaced)
    return false;
  return cause != proto::YieldCause::kPreempted || config.max_preemption_failures < 0 ||
         history.preemptions < config.max_preemption_failures;
}

double back_off_s(int failed_in_row) {
  if (failed_in_row <= 1) return 0;
  return std::min(kBackOffMaxS, std::exp2(std::min(failed_in_row - 2, 30)));
}

}  // namespace rtrain::core
