#include "worker/sdk/launcher.h"

#include "common/base/result.h"
#include "proto/api/api.h"
#include "worker/runtime/run_record.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <stdexcept>

namespace rtrain::sdk {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kResultBytesMax = 64u << 20;  // as the CLI reads of the head

bool is_program(const fs::path& path) { return ::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path); }

fs::path own_library_dir() {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<const void*>(&find_rtrain), &info) == 0 || info.dli_fname == nullptr)
    return {};
  return fs::weakly_canonical(info.dli_fname).parent_path();
}

struct Pipe {
  Pipe() {
    if (::pipe2(fds, O_CLOEXEC) != 0) throw std::runtime_error(std::string("pipe: ") + std::strerror(errno));
  }
  ~Pipe() {
    close_read();
    close_write();
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_read() {
    if (fds[0] >= 0) ::close(std::exchange(fds[0], -1));
  }
  void close_write() {
    if (fds[1] >= 0) ::close(std::exchange(fds[1], -1));
  }
  int fds[2] = {-1, -1};
};

std::string read_all(int fd) {
  std::string text;
  for (char chunk[4096];;) {
    const auto n = ::read(fd, chunk, sizeof chunk);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(chunk, static_cast<std::size_t>(n));
  }
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

/// Runs `rtrain` with `document` on its stdin. Its answer is the last line of its output, an object with
/// `key`.
nlohmann::json answer_of(std::vector<std::string> arguments, const nlohmann::json& document,
                         const std::vector<std::string>& environment, const char* key) {
  const std::string program = find_rtrain();
  const UnnamedFile input("input.json", proto::dump_json(document));
  Pipe output;
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input.fd(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output.fds[1], STDOUT_FILENO);
  std::string called = "rtrain";
  std::vector<char*> argv{called.data()};
  for (auto& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::vector<const char*> envp;
  for (const auto& variable : environment) envp.push_back(variable.c_str());
  for (char** variable = environ; *variable != nullptr; ++variable) envp.push_back(*variable);
  envp.push_back(nullptr);
  pid_t pid = 0;
  const int error =
      ::posix_spawn(&pid, program.c_str(), &actions, nullptr, argv.data(), const_cast<char**>(envp.data()));
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) throw std::runtime_error("could not start " + program + ": " + std::strerror(error));

  output.close_write();
  const std::string text = read_all(output.fds[0]);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  auto answer = proto::parse_json(last_line(text), {.bytes_max = kResultBytesMax});
  if (answer && answer->is_object() && answer->contains(key)) return std::move(*answer);
  const std::string how = WIFSIGNALED(status) ? "was killed by signal " + std::to_string(WTERMSIG(status))
                                              : "ended with code " + std::to_string(WEXITSTATUS(status));
  const bool sweeps = arguments.front() == "sweep";
  throw std::runtime_error(std::string(sweeps ? "rtrain sweep run " : "rtrain run ") + how +
                           " and returned no result; its output is on stderr");
}

}  // namespace

UnnamedFile::UnnamedFile(const char* purpose, const std::string& text)
    : fd_(::memfd_create(purpose, MFD_CLOEXEC)) {
  std::size_t done = 0;
  while (fd_ >= 0 && done < text.size()) {
    const auto written = ::write(fd_, text.data() + done, text.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) break;
    done += static_cast<std::size_t>(written);
  }
  if (fd_ >= 0 && done == text.size() && ::lseek(fd_, 0, SEEK_SET) == 0) return;
  const std::string why = std::strerror(errno);
  if (fd_ >= 0) ::close(fd_);
  throw std::runtime_error(std::string("could not hand over ") + purpose + ": " + why);
}

UnnamedFile::~UnnamedFile() { ::close(fd_); }

std::string UnnamedFile::path() const {
  return "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd_);
}

std::string UnnamedFile::text() const {
  std::string text;
  for (char chunk[8192];;) {
    const auto got = ::pread(fd_, chunk, sizeof chunk, static_cast<off_t>(text.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw std::runtime_error(std::string("could not read what was handed over: ") + std::strerror(errno));
    if (got == 0) return text;
    text.append(chunk, static_cast<std::size_t>(got));
  }
}

std::string find_rtrain() {
  if (const char* named = std::getenv("RTRAIN_BIN"); named != nullptr && *named != '\0') {
    if (is_program(named)) return named;
    throw std::runtime_error(std::string("RTRAIN_BIN is ") + named + ", which is not an executable");
  }
  const auto library_dir = own_library_dir();
  for (const auto& candidate : {library_dir.parent_path() / "bin" / "rtrain", library_dir / "rtrain"})
    if (is_program(candidate)) return candidate.string();
  std::istringstream path(std::getenv("PATH") != nullptr ? std::getenv("PATH") : "");
  for (std::string folder; std::getline(path, folder, ':');)
    if (!folder.empty() && is_program(fs::path(folder) / "rtrain"))
      return (fs::path(folder) / "rtrain").string();
  throw std::runtime_error("the rtrain program was not found: looked at RTRAIN_BIN, " +
                           (library_dir.parent_path() / "bin").string() + " and PATH. Set RTRAIN_BIN to it");
}

nlohmann::json run_job(const nlohmann::json& spec, const std::vector<std::string>& environment) {
  return answer_of({"run", "-", "-o", "json"}, spec, environment, "state");
}

nlohmann::json run_sweep(const nlohmann::json& spec, const std::vector<std::string>& environment) {
  return answer_of({"sweep", "run", "/dev/stdin", "-o", "json"}, spec, environment, "trials");
}

TrainingResult result_of(const nlohmann::json& document) {
  proto::ResultDoc doc;
  try {
    doc = document.get<proto::ResultDoc>();
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(std::string("rtrain run gave a result that this SDK does not understand: ") +
                             error.what());
  }
  TrainingResult result;
  if (doc.metrics.is_object()) result.metrics = runtime::with_numbers(doc.metrics);
  if (doc.checkpoint) result.checkpoint.emplace(doc.checkpoint->path);
  result.path = doc.path;
  if (doc.error)
    result.error = TrainingError{doc.error->kind, doc.error->message, doc.error->rank, doc.error->node,
                                 doc.error->log_tail};
  else if (doc.state != "SUCCEEDED")
    result.error = TrainingError{"cancelled", "the job was cancelled", std::nullopt, {}, {}};
  for (const auto& best : doc.best_checkpoints)
    result.best_checkpoints.emplace_back(Checkpoint(best.path), runtime::with_numbers(best.metrics));
  result.return_value = doc.return_value;
  return result;
}

}  // namespace rtrain::sdk
