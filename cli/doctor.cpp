// rtrain doctor: whether this machine can train.
#include "cli/doctor_host.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "common/base/duration.h"
#include "common/os/file.h"

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <optional>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace rtrain::cli {
namespace {

using proto::Check;
using proto::Health;
using Clock = std::chrono::steady_clock;

constexpr double kProbeLimitS = 60;

/// Runs `program --probe` in a process group of its own and hands on each line that it prints. Returns what
/// went wrong; "" nothing.
std::string run_probe(const std::string& program, std::chrono::milliseconds limit,
                      const std::function<void(const std::string&)>& told) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return std::strerror(errno);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, ends[1], 1);
  posix_spawn_file_actions_adddup2(&files, ends[1], 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::string flag = "--probe", name = program;
  char* argv[] = {name.data(), flag.data(), nullptr};
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.c_str(), &files, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  ::close(ends[1]);
  if (failed != 0) {
    ::close(ends[0]);
    return program + ": " + std::strerror(failed);
  }
  const auto until = Clock::now() + limit;
  std::string text, other;
  bool late = false;
  for (char buffer[4096];;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    pollfd wait{ends[0], POLLIN, 0};
    if (left.count() <= 0 || ::poll(&wait, 1, static_cast<int>(left.count())) == 0) {
      late = true;
      break;
    }
    const auto count = ::read(ends[0], buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(buffer, static_cast<std::size_t>(count));
    for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
      const auto line = text.substr(0, end);
      text.erase(0, end + 1);
      line.starts_with('{') ? told(line) : void(other = line);
    }
  }
  ::close(ends[0]);
  if (late) ::kill(-pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (late) return "did not end within " + std::to_string(limit.count() / 1000) + " s";
  if (status == 0) return "";
  const std::string how = WIFSIGNALED(status) ? std::string("was killed by ") + ::strsignal(WTERMSIG(status))
                                              : "ended with exit code " + std::to_string(WEXITSTATUS(status));
  return other.empty() ? program + " " + how : other;
}

/// What LibTorch says of the machine, and whether it fits what the machine says of itself.
void ask_libtorch(const HostFacts& host, const std::string& program, std::chrono::milliseconds limit,
                  std::vector<Check>& checks) {
  int cuda = 0, gpus = 0;
  std::string last;
  const auto problem = run_probe(program, limit, [&](const std::string& line) {
    const auto json = proto::parse_json(line);
    if (!json) return;
    auto check = json->get<Check>();
    last = check.name;
    cuda = check.figures.value("cuda", cuda);
    if (check.name == "gpus of libtorch")
      gpus = check.figures.value("gpus", 0);
    else
      checks.push_back(std::move(check));
  });
  if (!problem.empty()) {
    const std::string where = last.empty() ? "" : " (after " + last + ")";
    checks.push_back(
        {"libtorch",
         Health::kFailure,
         problem + where,
         "train_func jobs need it: RTRAIN_TORCH_ROOT names one, or the python3 on PATH that has torch",
         {}});
    return;
  }
  for (auto& check : judge_cuda(host, cuda, gpus)) checks.push_back(std::move(check));
}

Style style_of(Health health) {
  return state_style(health == Health::kOk        ? "SUCCEEDED"
                     : health == Health::kWarning ? "STOPPING"
                                                  : "FAILED");
}

Result<int> doctor(Call& call) {
  auto timeout = call.args.seconds("timeout");
  if (!timeout) return timeout.error();
  // Absolute, since the folder that is looked for upwards must end at the root.
  const auto storage =
      std::filesystem::absolute(call.args.text("storage").value_or(std::filesystem::current_path().string()));
  const auto host = look_at_host(storage.lexically_normal().string(),
                                 {{7337, "agents of a head", ""}, {7338, "users of a head", ""}});
  auto checks = judge(host);
  const auto worker = call.args.text("worker").value_or(os::program_dir() + "/rtrain-worker");
  ask_libtorch(host, worker, to_milliseconds(timeout->value_or(kProbeLimitS)), checks);
  const auto worst = proto::worst_of(checks);
  if (call.json()) {
    call.console.out(
        proto::dump_json(
            {{"status", proto::to_string(worst)}, {"gpus", host.gpus.gpus.size()}, {"checks", checks}}) +
        "\n");
  } else {
    Table table({"STATUS", "CHECK", "WHAT"});
    for (const auto& check : checks) {
      const auto hint = check.hint.empty() ? "" : "; " + check.hint;
      table.add({Cell(std::string(to_string(check.health)), style_of(check.health)), check.name,
                 printable(check.detail + hint, false)});
    }
    call.console.print(table);
  }
  return worst == Health::kFailure ? 1 : 0;
}

}  // namespace

Verb doctor_verb() {
  return {
      .name = "doctor",
      .usage = "",
      .summary = "check whether this machine can train",
      .description =
          "Limits, shared memory, disk and ports; GPUs by NVML; and, through rtrain-worker, LibTorch, each "
          "GPU with a copy and a matrix\n"
          "product, NCCL over all of them, and Gloo. Each line is ok, a warning or a failure, with the way "
          "out. The status is 1 when\n"
          "something fails.",
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
