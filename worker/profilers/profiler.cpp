#include <rtrain/profiler.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <stdexcept>

namespace rtrain {

std::string Profiler::stage_name() const {
  switch (run_.function) {
    case Stage::kValidate: return "validate";
    case Stage::kTest: return "test";
    case Stage::kPredict: return "predict";
    default: return "fit";
  }
}

std::string Profiler::file_stem() const {
  auto stem = stage_name();
  if (!options_.filename.empty()) stem += "-" + options_.filename;
  return stem + "-" + std::to_string(run_.local_rank);
}

std::filesystem::path Profiler::folder() const {
  return options_.dirpath.empty() ? run_.log_dir : options_.dirpath;
}

void Profiler::describe() {
  const auto text = summary();
  if (text.empty()) return;
  if (options_.filename.empty()) {
    if (run_.global_rank == 0) std::cerr << text << std::flush;
    return;
  }
  const auto path = folder() / (file_stem() + ".txt");
  std::error_code ec;
  std::filesystem::create_directories(folder(), ec);
  errno = ec.value();
  std::ofstream out(path, std::ios::app);
  out << text;
  out.close();
  if (!out) throw std::runtime_error("profiler: " + path.string() + ": " + std::strerror(errno));
}

}  // namespace rtrain
