// rtrain doctor: whether this machine can train.
#include "cli/doctor_gpus.h"
#include "cli/doctor_host.h"
#include "cli/doctor_libtorch.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "common/base/duration.h"
#include "common/os/file.h"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>

namespace rtrain::cli {
namespace {

using proto::Check;
using proto::Health;

constexpr double kProbeLimitS = 60;
constexpr std::chrono::seconds kNvmlLimit{10};     // it takes up to two where no persistence daemon runs
constexpr std::chrono::seconds kStorageLimit{15};  // the slowest disk that answers needs half of it

/// Takes checks as they come: each is a line of the table at once, so that what hangs is the one after the
/// last line.
class Report {
 public:
  Report(const Console& console, bool table) : console_(console), table_(table) {
    if (table_) line("STATUS", Style::kBold, "CHECK", "WHAT", Style::kBold);
  }
  void add(Check check) {
    const auto what = check.detail + (check.hint.empty() ? "" : "; " + check.hint);
    if (table_) line(std::string(to_string(check.health)), style_of(check.health), check.name, what);
    checks_.push_back(std::move(check));
  }
  void add(std::vector<Check> checks) {
    for (auto& check : checks) add(std::move(check));
  }
  [[nodiscard]] const std::vector<Check>& checks() const { return checks_; }

 private:
  static Style style_of(Health health) {
    return state_style(health == Health::kOk        ? "SUCCEEDED"
                       : health == Health::kWarning ? "STOPPING"
                                                    : "FAILED");
  }
  /// Widths that fit every check there is: the next line is not known yet.
  void line(const std::string& status, Style style, const std::string& name, const std::string& what,
            Style others = Style::kPlain) const {
    const auto padded = [&](const std::string& text, int columns, Style with) {
      const int missing = columns - display_width(text);
      return styled(text, with, console_.out_colour()) +
             std::string(static_cast<std::size_t>(std::max(0, missing)), ' ');
    };
    console_.out(padded(status, 9, style) + padded(printable(name, false), 16, others) +
                 styled(printable(what, false), others, console_.out_colour()) + "\n");
  }

  const Console& console_;
  bool table_;
  std::vector<Check> checks_;
};

/// What LibTorch says of the machine, and whether it fits what the machine says of itself.
void ask_libtorch(const HostFacts& host, const std::string& program, std::chrono::milliseconds limit,
                  Report& report) {
  const auto answer = ask_worker(program, limit, [&](Check check) { report.add(std::move(check)); });
  if (auto problem = judge_probe(answer, program))
    report.add(*std::move(problem));
  else
    report.add(judge_cuda(host, answer.cuda, answer.gpus));
}

/// Absolute, since the folder that is looked for upwards must end at the root.
Result<std::string> storage_folder(const std::optional<std::string>& given) {
  if (given && given->empty())
    return fail(Errc::kInvalidArgument, "--storage: expected a folder, found an empty text",
                "--storage DIR; without it, the current folder");
  std::error_code error;
  const auto here = std::filesystem::current_path(error);
  if (error && !(given && given->starts_with('/')))
    return fail(Errc::kIo, "the current folder cannot be used: " + error.message(),
                "change to a folder that is there, or name an absolute one with --storage DIR");
  auto path = (here / given.value_or("")).lexically_normal();
  if (!path.has_filename() && path.has_relative_path()) path = path.parent_path();  // "/results/"
  return path.string();
}

std::string counted(std::ptrdiff_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

std::string verdict(const std::vector<Check>& checks) {
  const auto failures = std::ranges::count(checks, Health::kFailure, &Check::health);
  const auto warnings = std::ranges::count(checks, Health::kWarning, &Check::health);
  if (failures > 0) return "this machine cannot train: " + counted(failures, "failure");
  return "this machine can train" + (warnings > 0 ? "; " + counted(warnings, "warning") : "");
}

Result<int> doctor(Call& call) {
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  auto storage = storage_folder(call.args.text("storage"));
  if (!storage) return storage.error();
  const auto named = call.args.text("worker");
  const auto beside = os::program_dir();
  // Where /proc does not tell the program's folder, what is beside it cannot be looked for.
  const bool knows_folder = beside.starts_with('/');
  const auto worker = named.value_or(beside + "/rtrain-worker");
  std::vector<std::string> programs;
  if (knows_folder) programs.push_back(beside + "/rtrain-keeper");
  if (knows_folder && !named) programs.push_back(worker);  // one that is named is asked, wherever it is
  Report report(call.console, !call.json());
  auto host = look_at_host({{7337, "agents", "--listen", ""}, {7338, "users", "--api-listen", ""}}, programs);
  report.add(judge_limits(host));
  report.add(judge_storage(look_at_storage_apart(*storage, kStorageLimit)));
  report.add(judge_programs(host));
  host.nvml = ask_nvml_apart(kNvmlLimit);
  report.add(judge_gpus(host));
  if (knows_folder || named)
    ask_libtorch(host, worker, to_milliseconds(timeout->value_or(kProbeLimitS)), report);
  else
    report.add({"libtorch",
                Health::kFailure,
                "was not asked: without /proc the rtrain-worker beside this program is not found",
                "mount /proc, or name one with --worker PROGRAM",
                {}});
  const auto worst = proto::worst_of(report.checks());
  call.console.out(call.json() ? proto::dump_json({{"status", proto::to_string(worst)},
                                                   {"gpus", host.nvml.gpus.gpus.size()},
                                                   {"checks", report.checks()}}) +
                                     "\n"
                               : verdict(report.checks()) + "\n");
  return worst == Health::kFailure ? 1 : 0;
}

}  // namespace

Verb doctor_verb() {
  return {
      .name = "doctor",
      .usage = "",
      .summary = "check whether this machine can train",
      .description =
          "Limits, memory, /proc, control groups, disk and ports; GPUs by NVML; and, through rtrain-worker, "
          "LibTorch, each GPU with a\n"
          "copy and a matrix product, NCCL over all of them, and Gloo. Each line is ok, a warning or a "
          "failure, "
          "with a way out, and is\n"
          "printed as soon as it is known; the last one says whether this machine can train. The status is 1 "
          "when a check fails.",
      .outputs = {"table", "json"},
      .needs_head = false,
      .options = {{"storage", 0, "DIR", "where results would go (default: this folder)"},
                  {"worker", 0, "PROGRAM", "the rtrain-worker to ask (default: the one beside this program)"},
                  {"timeout", 0, "SECONDS", "how long LibTorch and the GPUs are waited for (default 60)"}},
      .examples = {{"rtrain doctor", "this machine"},
                   {"rtrain doctor --storage /mnt/results", "and whether results can go there"},
                   {"rtrain doctor -o json", "for a script"}},
      .run = doctor};
}

}  // namespace rtrain::cli
