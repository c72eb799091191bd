#include "cli/doctor_libtorch.h"

#include "cli/text.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <utility>

#include <unistd.h>

namespace rtrain::cli {
namespace {

using proto::Check;
using proto::Health;
using How = ChildEnd::How;

constexpr int kNoLibTorch = 78;  // of the bundle's with-torch, which says what is missing and what to do
constexpr int kNotRun = 127;     // of the dynamic loader, and of the exec below

/// The way out of what ended the program: "" where the signal tells nothing.
std::string hint_of_signal(int signal) {
  switch (signal) {
    case SIGBUS:
      return "a shared library that is cut off ends a program like this: install LibTorch again, and see "
             "whether its disk is full";
    case SIGILL: return "this LibTorch uses instructions that the processor lacks: take another build";
    case SIGKILL: return "dmesg says whether the kernel ran out of memory; a container has its own limit";
    default: return "";
  }
}

}  // namespace

ProbeAnswer ask_worker(const std::string& program, std::chrono::milliseconds limit,
                       const std::function<void(Check)>& told) {
  ProbeAnswer answer;
  answer.end = run_limited(
      [&] {
        ::dup2(STDOUT_FILENO, STDERR_FILENO);
        ::execl(program.c_str(), program.c_str(), "--probe", nullptr);
        std::printf("%s: %s\n", program.c_str(), std::strerror(errno));
        std::fflush(stdout);
        ::_exit(kNotRun);
      },
      limit,
      [&](const std::string& line) {
        if (!line.starts_with('{')) return void(answer.other_line = line);
        auto check = read_check(line);
        if (!check)
          return void(answer.not_a_check = answer.not_a_check.empty() ? fit(line, 100) : answer.not_a_check);
        answer.last_check = check->name;
        answer.cuda = whole_figure(*check, "cuda", answer.cuda);
        answer.is_whole = check->name == "gpus of libtorch";
        if (answer.is_whole)
          answer.gpus = whole_figure(*check, "gpus", 0);
        else
          told(*std::move(check));
      });
  return answer;
}

std::optional<Check> judge_probe(const ProbeAnswer& answer, const std::string& program) {
  const auto& end = answer.end;
  const std::string after = answer.last_check.empty() ? "" : " (after " + answer.last_check + ")";
  const auto failed = [&](const std::string& what, const std::string& hint) {
    return Check{"libtorch", Health::kFailure, what + after, hint, {}};
  };
  const std::string by_hand = "run it by hand to see all that it prints: " + program + " --probe";
  switch (end.how) {
    case How::kNotStarted: return failed(program + " " + end.problem, kRaiseLimits);
    case How::kLate:
      return failed(program + " " + end.problem,
                    "what hangs is the check after the last line above; a slow disk or many GPUs need more: "
                    "--timeout SECONDS");
    case How::kTooMuch: return failed(program + " " + end.problem, by_hand);
    case How::kKilled: {
      const auto hint = hint_of_signal(end.signal);
      return failed(program + " " + end.problem, hint.empty() ? by_hand : hint);
    }
    case How::kExited: break;
  }
  const auto& line = answer.other_line;
  if (end.exit_code == kNoLibTorch && !line.empty())
    return failed(line, "training functions need LibTorch; `command` jobs run without it");
  const auto tells = [&](const char* text) { return line.find(text) != std::string::npos; };
  if (end.exit_code == kNotRun && (tells("failed to map segment") || tells("annot allocate memory")))
    return failed(line, "there are too few addresses or too little memory for it: ulimit -v unlimited, free");
  if (end.exit_code == kNotRun && tells("shared librar"))
    return failed(line,
                  "that library is missing or damaged: install what it belongs to again, LibTorch or rtrain");
  if (end.exit_code == kNotRun && !line.empty())
    return failed(line, "take the rtrain-worker of this rtrain, which is beside it; --worker names one");
  if (end.exit_code != 0)
    return failed(program + " " + end.problem + (line.empty() ? "" : ": " + line),
                  line == kNoMemory ? "free memory, or raise its limit" : by_hand);
  std::string what;
  if (!answer.not_a_check.empty())
    what = "rtrain-worker answered what is not a check: " + answer.not_a_check;
  else if (answer.last_check.empty())
    what = "rtrain-worker ended without an answer";
  else if (!answer.is_whole)
    what = "rtrain-worker ended before its last answer";
  if (what.empty()) return std::nullopt;
  return failed(what + " (" + program + ")",
                "take the rtrain-worker of this rtrain, which is beside it; --worker names one");
}

std::optional<Check> read_check(const std::string& line) {
  const auto json = proto::parse_json(line);
  if (!json) return std::nullopt;
  try {
    auto check = json->get<Check>();
    if (check.name.empty() || !check.figures.is_object()) return std::nullopt;
    return check;
  } catch (const proto::Json::exception&) {
    return std::nullopt;
  }
}

int whole_figure(const Check& check, const std::string& name, int otherwise) {
  const auto found = check.figures.find(name);
  return found != check.figures.end() && found->is_number_integer() ? found->get<int>() : otherwise;
}

}  // namespace rtrain::cli
