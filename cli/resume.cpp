#include "cli/resume.h"

#include "cli/job_reference.h"
#include "proto/json.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

namespace rtrain::cli {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "checkpoint_";

std::optional<std::int64_t> index_of(const std::string& name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  std::int64_t index = 0;
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, index);
  return error == std::errc{} && stop == end ? std::optional(index) : std::nullopt;
}

/// The newest checkpoint that metrics.jsonl has and that is there, if it has a name of its own
/// (checkpoint_dir_name, or a path elsewhere).
std::optional<std::string> newest_named(const std::string& folder) {
  std::ifstream lines(folder + "/metrics.jsonl");
  std::optional<std::string> newest;
  for (std::string line; std::getline(lines, line);) {
    const auto row = proto::parse_json(line);
    const auto* name = row && row->is_object() && row->contains("checkpoint")
                           ? row->at("checkpoint").get_ptr<const std::string*>()
                           : nullptr;
    std::error_code ignored;
    if (name == nullptr || !fs::is_directory(fs::path(folder) / *name, ignored)) continue;
    newest = index_of(*name) ? std::nullopt : std::optional((fs::path(folder) / *name).string());
  }
  return newest;
}

/// Words for a shell: quoted where it would take them apart.
std::string quoted(const std::string& word) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 ||
           std::string_view("_-./:=,+@").find(static_cast<char>(c)) != std::string_view::npos;
  };
  if (!word.empty() && std::ranges::all_of(word, plain)) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

}  // namespace

Option resume_from_option() {
  return {"resume", 0, "JOB|PATH",
          "begin at the latest checkpoint of a job, of a run's folder, or at this checkpoint"};
}

Result<std::string> checkpoint_in(const std::string& folder) {
  std::error_code error;
  std::optional<std::pair<std::int64_t, std::string>> newest;
  bool empty = true;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    empty = false;
    const auto index = index_of(it->path().filename().string());
    std::error_code ignored;
    if (index && it->is_directory(ignored) && (!newest || *index > newest->first))
      newest = {*index, it->path().string()};
  }
  if (error) return fail(Errc::kNotFound, "--resume " + folder + ": " + error.message());
  if (empty)
    return fail(Errc::kNotFound, "--resume " + folder + ": the folder is empty",
                "name a checkpoint, a run's folder or a job");
  if (auto named = newest_named(folder)) return std::move(*named);
  return newest ? newest->second : folder;
}

Result<std::string> checkpoint_of(const std::string& text, const std::string& cwd,
                                  const std::function<Result<Get>()>& get) {
  const auto job = parse_job_reference(text);
  if (text.find('/') != std::string::npos || !job)
    return checkpoint_in((fs::path(cwd) / text).lexically_normal().string());
  if (job->indices && text.find('[') != std::string::npos)
    return fail(Errc::kInvalidArgument, "--resume " + text + ": more than one job", "name one, such as 12_3");
  auto ask = get();
  if (!ask) return ask.error();
  if (!job->indices) {
    auto answer = (*ask)("/v1/jobs/" + text);
    if (!answer) return answer.error().in("--resume " + text);
    auto doc = as<proto::JobDoc>(*answer);
    if (!doc) return doc.error();
    if (means_array(text, *doc) && doc->array->count > 1)
      return fail(
          Errc::kInvalidArgument,
          "--resume " + text + ": " + text + " is an array of " + std::to_string(doc->array->count) + " jobs",
          "name one: --resume " + job_name_of(*doc));
  }
  auto answer = (*ask)("/v1/jobs/" + text + "/result");
  if (!answer) return answer.error().in("--resume " + text);
  auto result = as<proto::ResultDoc>(*answer);
  if (!result) return result.error();
  if (!result->checkpoint)
    return fail(Errc::kNotFound, "--resume " + text + ": job " + text + " has no complete checkpoint");
  return result->checkpoint->path;
}

Origin origin_of(const Call& call) {
  Origin origin{call.verb.name, call.args.positionals.front()};
  for (const char* name : {"queue", "priority", "time", "reservation"})
    if (const auto value = call.args.text(name))
      origin.options.insert(origin.options.end(), {std::string("--") + name, *value});
  for (const auto& set : call.args.texts("set"))  // that of the checkpoint would win over --resume
    if (!set.starts_with("resume_from_checkpoint="))
      origin.options.insert(origin.options.end(), {"--set", set});
  return origin;
}

std::string resume_command(const proto::ResultDoc& result, const std::string& job, const Origin& origin) {
  if (!result.checkpoint || result.state == "SUCCEEDED") return "";
  // The head of `rtrain run` is gone, and its job's number with it.
  std::string command =
      "rtrain " + origin.verb + " --resume " + (origin.verb == "run" ? quoted(result.checkpoint->path) : job);
  for (const auto& option : origin.options) command += " " + quoted(option);
  return command + " " + quoted(origin.file);
}

}  // namespace rtrain::cli
