#include "cli/checkpoint_output.h"

#include "common/os/file.h"
#include "proto/tensors/checksums.h"

#include <unistd.h>

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
