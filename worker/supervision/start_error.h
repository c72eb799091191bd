// Why a rank is not in its program, and whose fault that is: told by what the system said, not by how it
// sounds.
#pragma once

#include "proto/message/message.h"

#include <string>
#include <string_view>

namespace rtrain::supervision {

struct StartError {
  std::string kind;  ///< of the rank's failure: "exec", the job asks for what cannot be; "spawn", the node
                     ///< could not do it
  std::string message;
};

/// "exec" for an errno of chdir() or execve() that tells of the job's own words: a name, a file, an argument.
/// "spawn" for all others: memory, processes, descriptors, a disk.
[[nodiscard]] std::string_view kind_of_start_error(int error);
/// Why `program` (the file that was tried, the name itself when there is none) could not be entered, with
/// `error` from execve(): names the variable or argument that is too long, the interpreter that is missing,
/// the machine that the program is for.
[[nodiscard]] StartError explain_exec(int error, const proto::SpawnRank& spawn, const std::string& program);
/// The file that execvp() takes for the name: itself if it holds a slash, else the first executable file of
/// this PATH; "" when there is none.
[[nodiscard]] std::string find_program(const std::string& name, std::string_view path);

/// How a child tells its parent through a pipe, and back.
[[nodiscard]] std::string to_text(const StartError& error);
[[nodiscard]] StartError start_error_of(const std::string& text);

}  // namespace rtrain::supervision
