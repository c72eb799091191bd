#include "worker/supervision/start_error.h"

#include "common/os/elf.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include <sys/stat.h>
#include <unistd.h>

namespace rtrain::supervision {
namespace {

/// What execve() and chdir() say of the name, the file or the arguments that they were given. All else is the
/// node's.
constexpr std::array kOfTheJob{ENOENT,       EACCES,  EPERM, ENOTDIR, EISDIR,  ELOOP,
                               ENAMETOOLONG, ENOEXEC, E2BIG, ETXTBSY, ELIBBAD, EINVAL};

/// Bytes of one argument or variable, its end not counted: MAX_ARG_STRLEN of the kernel.
std::size_t one_max() { return static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) * 32 - 1; }

/// "the variable DATA has 204805 bytes with its name; one may have 131071"
std::string explain_too_long(const proto::SpawnRank& spawn) {
  std::size_t all = 0;
  for (const auto& [name, value] : spawn.env) {
    const auto bytes = name.size() + 1 + value.size();
    if (bytes > one_max())
      return "the variable " + name + " has " + std::to_string(bytes) +
             " bytes with its name; one may have " + std::to_string(one_max());
    all += bytes + 1;
  }
  for (std::size_t i = 0; i < spawn.argv.size(); ++i) {
    const auto bytes = spawn.argv[i].size();
    if (bytes > one_max())
      return "argument " + std::to_string(i) + " has " + std::to_string(bytes) + " bytes; one may have " +
             std::to_string(one_max());
    all += bytes + 1;
  }
  return "arguments and environment have " + std::to_string(all) +
         " bytes together, more than the system takes (a quarter of ulimit -s)";
}

/// The interpreter that a script names in its first line.
std::string interpreter_of_script(const std::string& program) {
  std::ifstream file(program);
  std::string line;
  if (!std::getline(file, line) || !line.starts_with("#!")) return {};
  const auto begin = line.find_first_not_of(" \t", 2);
  if (begin == std::string::npos) return {};
  return line.substr(begin, line.find_first_of(" \t\r", begin) - begin);
}

std::string interpreter_of(const std::string& program) {
  const auto elf = os::read_elf(program);
  return elf ? elf->interpreter : interpreter_of_script(program);
}

std::string explain_missing(const std::string& program) {
  struct stat info {};
  if (::stat(program.c_str(), &info) != 0) return {};
  const auto interpreter = interpreter_of(program);
  if (interpreter.empty() || ::access(interpreter.c_str(), X_OK) == 0) return {};
  return "it needs the interpreter " + interpreter + ", which is not on this node";
}

std::string explain_format(const std::string& program) {
  const auto elf = os::read_elf(program);
  if (!elf) return "it is neither a program for this machine nor a script that begins with #!";
  if (elf->machine != os::own_machine())
    return "it is a program for " + elf->machine + "; this node is " + os::own_machine();
  if (elf->needed_bytes > elf->file_bytes)
    return "it is truncated: the file has " + std::to_string(elf->file_bytes) +
           " bytes, its ELF header requires " + std::to_string(elf->needed_bytes);
  return {};
}

std::string explain_access(const std::string& program) {
  struct stat info {};
  if (::stat(program.c_str(), &info) != 0) return {};
  if (S_ISDIR(info.st_mode)) return "it is a folder";
  if ((info.st_mode & 0111) == 0) return "it is not executable (chmod +x)";
  const auto interpreter = interpreter_of(program);
  return !interpreter.empty() && ::access(interpreter.c_str(), X_OK) != 0
             ? "its interpreter " + interpreter + " cannot be run"
             : "";
}

std::string detail_of(int error, const proto::SpawnRank& spawn, const std::string& program) {
  if (error == E2BIG) return explain_too_long(spawn);
  if (program.find('/') == std::string::npos) return {};  // no file of this name was found
  switch (error) {
    case ENOENT: return explain_missing(program);
    case ENOEXEC: return explain_format(program);
    case EACCES: return explain_access(program);
    case ETXTBSY: return "somebody has it open for writing";
    default: return {};
  }
}

/// As much of a name as a person reads.
std::string shortened(const std::string& name) {
  constexpr std::size_t kShown = 200;
  return name.size() <= kShown ? name
                               : name.substr(0, kShown) + "... (" + std::to_string(name.size()) + " bytes)";
}

}  // namespace

std::string_view kind_of_start_error(int error) {
  return std::ranges::find(kOfTheJob, error) != kOfTheJob.end() ? "exec" : "spawn";
}

StartError explain_exec(int error, const proto::SpawnRank& spawn, const std::string& program) {
  const auto detail = detail_of(error, spawn, program);
  return {std::string(kind_of_start_error(error)), "cannot start " + shortened(program) + ": " +
                                                       std::strerror(error) +
                                                       (detail.empty() ? "" : "; " + detail)};
}

std::string find_program(const std::string& name, std::string_view path) {
  if (name.find('/') != std::string::npos) return name;
  for (std::size_t begin = 0; begin <= path.size();) {
    const auto end = std::min(path.find(':', begin), path.size());
    const std::string folder(path.substr(begin, end - begin));
    auto candidate = (folder.empty() ? "." : folder) + "/" + name;
    struct stat info {};
    if (::access(candidate.c_str(), X_OK) == 0 && ::stat(candidate.c_str(), &info) == 0 &&
        S_ISREG(info.st_mode))
      return candidate;
    begin = end + 1;
  }
  return {};
}

std::string to_text(const StartError& error) { return error.kind + "\n" + error.message; }

StartError start_error_of(const std::string& text) {
  const auto end = text.find('\n');
  return end == std::string::npos ? StartError{"spawn", text}
                                  : StartError{text.substr(0, end), text.substr(end + 1)};
}

}  // namespace rtrain::supervision
