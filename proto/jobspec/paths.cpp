#include "proto/jobspec/jobspec.h"

#include <filesystem>

namespace rtrain::proto {
namespace fs = std::filesystem;
namespace {

std::string absolute(const std::string& path, const std::string& base, const std::string& home) {
  if (path == "~") return home;
  if (path.starts_with("~/")) return (fs::path(home) / path.substr(2)).lexically_normal().string();
  return (fs::path(base) / path).lexically_normal().string();  // an absolute right side wins
}

}  // namespace

void resolve_paths(JobSpec& spec, const std::string& job_dir, const std::string& cwd, const std::string& home,
                   const std::string& library_dir) {
  const auto resolve_library = [&](std::string& library) {
    const bool bare = library.find('/') == std::string::npos;
    std::error_code ignored;
    if (bare && !library_dir.empty() && !fs::exists(fs::path(job_dir) / library, ignored))
      library = (fs::path(library_dir) / library).lexically_normal().string();
    else
      library = absolute(library, job_dir, home);
  };
  if (spec.train_func) resolve_library(spec.train_func->library);
  if (spec.validation && spec.validation->train_func) resolve_library(spec.validation->train_func->library);
  // Empty stays with the base: "." would leave a trailing slash.
  spec.working_dir = spec.working_dir.empty() ? fs::path(job_dir).lexically_normal().string()
                                              : absolute(spec.working_dir, job_dir, home);
  spec.run_config.storage_path = absolute(spec.run_config.storage_path, cwd, home);
  if (!spec.resume_from_checkpoint.empty())
    spec.resume_from_checkpoint = absolute(spec.resume_from_checkpoint, cwd, home);
}

std::vector<SpecError> check_resolved(const JobSpec& spec) {
  std::vector<SpecError> errors;
  const auto check = [&](const char* path, const std::string& value) {
    if (!fs::path(value).is_absolute())
      errors.push_back(
          {path, "\"" + value + "\" must be an absolute path here; `rtrain submit` makes it so"});
  };
  if (spec.train_func) check("train_func.library", spec.train_func->library);
  if (spec.validation && spec.validation->train_func)
    check("validation.train_func.library", spec.validation->train_func->library);
  check("working_dir", spec.working_dir);
  check("run_config.storage_path", spec.run_config.storage_path);
  if (!spec.resume_from_checkpoint.empty()) check("resume_from_checkpoint", spec.resume_from_checkpoint);
  return errors;
}

}  // namespace rtrain::proto
