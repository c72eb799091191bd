#include "cli/sweep_file.h"

#include "cli/job_file.h"
#include "common/os/file.h"
#include "daemon/core/sweep/space.h"

#include <filesystem>

namespace rtrain::cli {

namespace fs = std::filesystem;

namespace {

std::string place_of(const SweepFile& file, const proto::SpecError& error) {
  std::string place = file.shown;
  if (error.line > 0) place += ":" + std::to_string(error.line) + ":" + std::to_string(error.column);
  return place + ": " + proto::to_string(error);
}

}  // namespace

Result<SweepFile> load_sweep(const Call& call) {
  const std::string& path = call.args.positionals[1];
  const auto text = os::read_file(path, proto::kSweepBytesMax);
  if (!text) return text.error();
  const auto folder = fs::path(path).parent_path();
  SweepFile file{path, folder.string(), {}};
  const proto::JobText job_text = [&](const std::string& job) {
    file.job_dir = (folder / job).parent_path().string();
    return os::read_file((folder / job).string(), proto::kSweepBytesMax);
  };
  const auto overrides = call.args.texts("set");
  const auto document = proto::parse_json(*text);
  if (overrides.empty() || !document) {
    file.reading = proto::read_sweep_spec(*text, job_text);
  } else {
    proto::Json changed = *document;
    for (const auto& set : overrides) {
      auto with = with_override(std::move(changed), Override(set));
      if (!with) return with.error();
      changed = std::move(*with);
    }
    file.reading = proto::read_sweep_document(changed, job_text, *text);
  }
  // What a reader cannot know: how many points a grid has.
  if (file.reading.ok() && file.reading.spec.search.method == proto::SearchMethod::kGrid)
    if (const auto grid = core::Grid::of(core::Space(file.reading.spec.parameters)); !grid)
      file.reading.errors.push_back({"parameters", grid.error().message()});
  return file;
}

bool report_errors(const SweepFile& file, const Console& console) {
  for (const auto& error : file.reading.errors) console.note(place_of(file, error));
  return file.reading.ok();
}

void resolve_paths(SweepFile& file, const Call& call) {
  const auto base = path_base(call.getenv);
  const auto job_dir = file.job_dir.starts_with('/') ? file.job_dir
                       : file.job_dir.empty()        ? base.cwd
                                                     : base.cwd + "/" + file.job_dir;
  proto::resolve_paths(file.reading.spec.job, job_dir, base.cwd, base.home, base.library_dir);
}

}  // namespace rtrain::cli
