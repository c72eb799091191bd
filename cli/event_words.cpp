#include "cli/event_words.h"

#include "cli/text.h"

#include <algorithm>

namespace rtrain::cli {
namespace {

using namespace proto;

std::string by(const std::string& who) { return who.empty() ? "" : " by " + who; }

std::string of_rank(int rank) { return "rank " + std::to_string(rank); }

/// One overload per event: a forgotten event does not compile.
struct Words {
  std::string operator()(const JobSubmitted& e) const {
    std::string text = "submitted" + by(e.user);
    if (e.array)
      text += ", index " + std::to_string(e.array->index) + " of array " + rtrain::to_string(e.array->id);
    if (e.validates)
      text += ", validates checkpoint " + std::to_string(e.validates->index) + " of job " +
              rtrain::to_string(e.validates->job);
    if (e.sweep)
      text += ", trial " + std::to_string(e.sweep->trial) + " of sweep " + rtrain::to_string(e.sweep->sweep);
    return text + "; results go to " + e.run_dir;
  }
  std::string operator()(const AttemptPlaced& e) const {
    std::vector<std::string> nodes;
    for (const auto& rank : e.ranks)
      if (std::ranges::find(nodes, rank.node) == nodes.end()) nodes.push_back(rank.node);
    std::string text = std::to_string(e.ranks.size()) + (e.ranks.size() == 1 ? " rank on " : " ranks on ");
    for (std::size_t i = 0; i < nodes.size(); ++i) text += (i == 0 ? "" : ", ") + nodes[i];
    return text;
  }
  std::string operator()(const RankForked& e) const {
    return of_rank(e.rank) + " started, pid " + std::to_string(e.pid);
  }
  std::string operator()(const RankEntered& e) const { return of_rank(e.rank) + " runs"; }
  std::string operator()(const FirstStep&) const { return "the training loop made its first step"; }
  std::string operator()(const MetricsReported& e) const {
    std::string text = "report " + std::to_string(e.seq);
    if (e.checkpoint) text += " with " + e.checkpoint->path.substr(e.checkpoint->path.rfind('/') + 1);
    if (!e.deleted_checkpoints.empty())
      text += ", " + std::to_string(e.deleted_checkpoints.size()) + " older removed";
    return text;
  }
  std::string operator()(const RankFinished& e) const {
    if (e.error) return of_rank(e.rank) + ": " + e.error->message;
    return of_rank(e.rank) + " " + to_string(e.status) + (e.yielded ? " after it was asked to yield" : "");
  }
  std::string operator()(const AttemptFailed& e) const {
    return "failed: " + e.error.message + "; " + e.reason;
  }
  std::string operator()(const YieldRequested& e) const {
    if (!e.checkpoint) return "stopped (" + std::string(to_string(e.cause)) + "): " + e.reason;
    return "asked to write a checkpoint and to yield within " + duration(e.grace_s) + " (" +
           std::string(to_string(e.cause)) + "): " + e.reason;
  }
  std::string operator()(const TimeLimitReached& e) const {
    return "stopped: the time limit of " + amount(e.limit_s) + " s is reached";
  }
  std::string operator()(const ValidationStarted& e) const {
    return "checkpoint " + std::to_string(e.index) + " is validated by job " + rtrain::to_string(e.job);
  }
  std::string operator()(const ValidationEnded& e) const {
    const auto checkpoint = "checkpoint " + std::to_string(e.index);
    if (e.status != ValidationStatus::kValidated)
      return "warning: " + checkpoint + " was not validated (" + std::string(to_string(e.status)) +
             "): " + e.error;
    const auto metrics = metrics_line(e.metrics);
    return checkpoint + " is validated" + (metrics.empty() ? "" : ": " + metrics);
  }
  std::string operator()(const CancelRequested& e) const { return "cancelled" + by(e.by); }
  std::string operator()(const JobHeld& e) const { return "held" + by(e.by); }
  std::string operator()(const JobReleased& e) const { return "released" + by(e.by); }
  std::string operator()(const AttemptEnded&) const { return "all ranks are gone, their resources are free"; }
};

}  // namespace

std::string event_words(const JobEvent& event) { return std::visit(Words{}, event); }

std::int64_t attempt_of(const JobEvent& event) {
  return std::visit(
      [](const auto& e) -> std::int64_t {
        if constexpr (requires { e.attempt; })
          return e.attempt.value();
        else
          return 0;
      },
      event);
}

}  // namespace rtrain::cli
