#include "cli/checkpoint_output.h"

#include "cli/exit_code.h"
#include "common/os/file.h"
#include "common/os/interruptible.h"
#include "common/os/new_file.h"
#include "common/os/open_file.h"
#include "proto/tensors/checksums.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace rtrain::cli {

namespace fs = std::filesystem;

OutputPath output_path(const std::string& given) {
  OutputPath out{given};
  out.is_folder = !out.path.has_filename();
  if (out.is_folder) out.path = out.path.parent_path();
  std::error_code ignored;
  const auto status = fs::symlink_status(out.path, ignored);
  const bool is_empty_folder = fs::is_directory(status) && fs::is_empty(out.path, ignored);
  out.is_folder = out.is_folder || is_empty_folder;
  out.is_taken = fs::exists(status) && !is_empty_folder;
  return out;
}

Result<Done> require_free(const OutputPath& out) {
  if (!out.is_taken) return ok();
  return fail(Errc::kInvalidArgument, out.path.string() + ": exists, and is left alone",
              "name another OUT, or remove it");
}

Result<int> write_output(const std::function<Result<int>()>& write) {
  const os::Interruptible interruptible;
  auto status = write();
  if (!status && os::Interruptible::signal() != 0) return exit_of_signal(os::Interruptible::signal());
  return status;
}

Result<Done> copy_new_file(const fs::path& from, const fs::path& to) {
  constexpr std::uint64_t kPieceBytes = 1u << 20;
  const auto source = os::OpenFile::open(from.string());
  if (!source) return source.error();
  const auto target = os::NewFile::create(to.string());
  if (!target) return target.error();
  std::string piece;
  for (std::uint64_t at = 0; at < (*source)->size(); at += piece.size()) {
    piece.resize(std::min(kPieceBytes, (*source)->size() - at));
    if (auto done = (*source)->read(at, piece); !done) return done;
    if (auto done = (*target)->write(piece); !done) return done;
  }
  return (*target)->commit();
}

Result<Done> write_checkpoint_folder(const fs::path& out,
                                     const std::function<Result<Done>(const fs::path& partial)>& fill) {
  const auto partial =
      out.parent_path() / ("." + out.filename().string() + ".tmp-" + std::to_string(::getpid()));
  std::error_code error;
  if (!fs::create_directory(partial, error))
    return fail_errno("make folder " + partial.string(), error ? error.value() : EEXIST);
  struct Cleanup {  // of what was made here: another's folder is left alone
    const fs::path& path;
    ~Cleanup() {
      std::error_code ignored;
      fs::remove_all(path, ignored);
    }
  } const cleanup{partial};
  if (auto done = fill(partial); !done) return done;
  auto sums = tensors::make_checksums(partial.string());
  if (!sums) return sums.error();
  if (auto done = tensors::write_checksums(partial.string(), *sums); !done) return done;
  fs::rename(partial, out, error);
  if (error) return fail_errno("rename to " + out.string(), error.value());
  return os::fsync_path(out.parent_path().empty() ? "." : out.parent_path().string());
}

}  // namespace rtrain::cli
