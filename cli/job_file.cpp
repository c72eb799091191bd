#include "cli/job_file.h"

#include "cli/resume.h"
#include "common/os/file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <set>
#include <utility>

#include <unistd.h>

namespace rtrain::cli {

namespace fs = std::filesystem;
using proto::Json;

namespace {

constexpr std::size_t kJobBytesMax = 4u << 20;

Result<std::string> read_stdin() {
  std::string text;
  std::array<char, 16 << 10> piece{};
  for (;;) {
    const ssize_t n = ::read(STDIN_FILENO, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno("read stdin", errno);
    if (n == 0) return text;
    text.append(piece.data(), static_cast<std::size_t>(n));
    if (text.size() > kJobBytesMax) return fail(Errc::kLimit, "stdin: a job file has at most 4 MiB");
  }
}

std::string kind_of(const Json& value) {
  return value.is_array()     ? "an array"
         : value.is_string()  ? "a string"
         : value.is_boolean() ? "a boolean"
         : value.is_null()    ? "null"
                              : "a number";
}

/// The types that the schema allows at a path; none: anything, or nothing is known of it.
std::set<std::string> types_at(const std::vector<std::string>& path) {
  static const Json kSchema = *proto::parse_json(proto::job_schema());
  std::vector<const Json*> at{&kSchema};
  const auto with_choices = [](std::vector<const Json*> schemas) {
    for (std::size_t i = 0; i < schemas.size(); ++i)
      if (const auto any = schemas[i]->find("anyOf"); any != schemas[i]->end())
        for (const auto& one : *any) schemas.push_back(&one);
    return schemas;
  };
  for (const auto& key : path) {
    std::vector<const Json*> inner;
    const bool index = !key.empty() && key.find_first_not_of("0123456789") == std::string::npos;
    for (const auto* schema : with_choices(at)) {
      const auto properties = schema->find("properties"), others = schema->find("additionalProperties"),
                 items = schema->find("items");
      if (properties != schema->end() && properties->contains(key))
        inner.push_back(&(*properties)[key]);
      else if (others != schema->end() && others->is_object())
        inner.push_back(&*others);
      else if (index && items != schema->end())
        inner.push_back(&*items);
    }
    at = std::move(inner);
  }
  std::set<std::string> types;
  for (const auto* schema : with_choices(std::move(at)))
    if (const auto type = schema->find("type"); type != schema->end() && type->is_string())
      types.insert(type->get<std::string>());
  return types;
}

/// The text of --set as a value of what the job file has there: `env.X=1` is the string "1", for env holds
/// strings.
Result<Json> value_of(const std::string& text, const std::vector<std::string>& path) {
  const auto types = types_at(path);
  auto value = proto::parse_json(text);
  const bool only_text = types == std::set<std::string>{"string"};
  if (only_text && (!value || !(value->is_string() || (value->is_null() && path.front() != "env"))))
    return Json(text);
  if (value) return value;
  const bool structured = types.contains("array") || types.contains("object");
  if (structured && !text.empty() && (text.front() == '[' || text.front() == '{'))
    return fail(Errc::kInvalidArgument, std::string("expected ") +
                                            (types.contains("array") ? "a list such as [\"a\", \"b\"]"
                                                                     : "an object such as {\"a\": 1}") +
                                            ": " + value.error().message());
  return Json(text);
}

/// The steps of a path: those of "command[0]" and "command.0" are the same.
std::vector<std::string> steps_of(std::string_view path) {
  std::vector<std::string> steps;
  std::string step;
  for (const char c : path) {
    if (c != '.' && c != '[' && c != ']')
      step += c;
    else if (!step.empty())
      steps.push_back(std::exchange(step, {}));
  }
  if (!step.empty()) steps.push_back(std::move(step));
  return steps;
}

bool begins_with(const std::vector<std::string>& path, const std::vector<std::string>& outer) {
  return outer.size() <= path.size() && std::equal(outer.begin(), outer.end(), path.begin());
}

/// Finds the option that each error comes from: one that set the place of the error or something around it;
/// or something within it, when the error is not among `of_file`, those that the file has by itself. The last
/// one of several.
void blame_options(JobFile& job, const std::vector<Override>& overrides,
                   const std::vector<proto::SpecError>& of_file) {
  for (auto& error : job.errors) {
    const auto at = steps_of(error.path);
    const bool own = std::ranges::any_of(
        of_file, [&](const auto& e) { return e.path == error.path && e.message == error.message; });
    const auto from = std::find_if(overrides.rbegin(), overrides.rend(), [&](const Override& override) {
      const auto set = steps_of(override.assignment.substr(0, override.assignment.find('=')));
      return begins_with(at, set) || (!own && begins_with(set, at));
    });
    if (from == overrides.rend()) continue;
    job.blamed[error.path] = from->shown;
    error.line = error.column = 0;
  }
}

void warn_of_missing(JobFile& job) {
  std::error_code ignored;
  if (job.spec.train_func && !fs::exists(job.spec.train_func->library, ignored))
    job.warnings.push_back("train_func.library: " + job.spec.train_func->library +
                           " does not exist on this machine");
  if (!job.spec.working_dir.empty() && !fs::is_directory(job.spec.working_dir, ignored))
    job.warnings.push_back("working_dir: " + job.spec.working_dir + " does not exist on this machine");
  if (!job.spec.resume_from_checkpoint.empty() && !fs::is_directory(job.spec.resume_from_checkpoint, ignored))
    job.warnings.push_back("resume_from_checkpoint: " + job.spec.resume_from_checkpoint +
                           " does not exist on this machine");
}

}  // namespace

Option set_option() {
  return {"set", 0, "PATH=VALUE",
          "override a field of the job, e.g. scaling_config.num_workers=4 (may be repeated)"};
}

Result<Json> with_override(Json document, const Override& given) {
  const auto bad = [&](const std::string& why) {
    return fail(Errc::kInvalidArgument, given.shown + ": " + why);
  };
  const std::string& override = given.assignment;
  const std::size_t equals = override.find('=');
  if (equals == std::string::npos || equals == 0)
    return bad("must be PATH=VALUE, e.g. scaling_config.num_workers=4");
  const std::string path = override.substr(0, equals);
  const std::string text = override.substr(equals + 1);

  Json* at = &document;
  std::string walked;
  std::vector<std::string> steps;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('.', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    if (key.empty()) return bad("an empty name in the path");
    if (at->is_null() && !walked.empty()) *at = Json::object();
    if (at->is_array()) {
      std::size_t index = 0;
      const auto [stop, error] = std::from_chars(key.data(), key.data() + key.size(), index);
      if (error != std::errc{} || stop != key.data() + key.size() || index >= at->size())
        return bad(walked + " is an array of " + std::to_string(at->size()) + " elements: '" + key +
                   "' is none of them");
      at = &(*at)[index];
    } else if (at->is_object()) {
      at = &(*at)[key];
    } else {
      return bad((walked.empty() ? "the job" : walked) + " is " + kind_of(*at) + ", not an object");
    }
    walked += (walked.empty() ? "" : ".") + key;
    steps.push_back(key);
    begin = end + 1;
  }
  auto value = value_of(text, steps);
  if (!value) return bad(value.error().message());
  *at = std::move(*value);
  return document;
}

PathBase path_base(const Getenv& getenv) {
  std::error_code ignored;
  return {fs::current_path(ignored).string(), variable(getenv, "HOME").value_or(""),
          fs::path(os::program_dir() + "/../lib").lexically_normal().string()};
}

Result<JobFile> read_job(const std::string& shown, const std::string& text,
                         const std::vector<Override>& overrides, const std::string& job_dir,
                         const PathBase& base) {
  JobFile job;
  job.shown = shown;
  proto::SpecReading reading = proto::read_job_spec(std::string_view(text));
  const auto of_file = reading.errors;
  if (!overrides.empty()) {
    auto document = proto::parse_json(text);
    if (document) {  // a text that is no JSON keeps the errors of the first reading
      for (const auto& override : overrides) {
        auto changed = with_override(std::move(*document), override);
        if (!changed) return changed.error();
        document = std::move(changed);
      }
      proto::SpecReading changed = proto::read_job_spec(*document);
      for (auto& error : changed.errors) {
        const auto same = std::find_if(reading.errors.begin(), reading.errors.end(),
                                       [&](const proto::SpecError& e) { return e.path == error.path; });
        if (same == reading.errors.end()) continue;
        error.line = same->line;
        error.column = same->column;
      }
      reading = std::move(changed);
    }
  }
  job.errors = std::move(reading.errors);
  blame_options(job, overrides, of_file);
  if (!job.errors.empty()) return job;
  job.spec = std::move(reading.spec);
  proto::resolve_paths(job.spec, job_dir, base.cwd, base.home, base.library_dir);
  job.errors = proto::check_resolved(job.spec);
  blame_options(job, overrides, job.errors);
  if (job.errors.empty()) warn_of_missing(job);
  return job;
}

Result<JobFile> load_job(const Call& call, const std::function<Result<Get>()>& get) {
  const std::string& path = call.args.positionals.front();
  const PathBase base = path_base(call.getenv);
  auto text = path == "-" ? read_stdin() : os::read_file(path, kJobBytesMax);
  if (!text) return text.error();
  const std::string job_dir =
      path == "-" ? base.cwd : (fs::path(base.cwd) / path).parent_path().lexically_normal().string();
  auto overrides = scheduling_overrides(call.args, os::unix_ms_now());
  if (!overrides) return overrides.error();
  if (const auto resume = call.args.text("resume")) {
    auto checkpoint = checkpoint_of(*resume, base.cwd, get);
    if (!checkpoint) return checkpoint.error();
    overrides->emplace_back("resume_from_checkpoint=" + proto::dump_json(proto::Json(*checkpoint)),
                            "--resume " + *resume);
  }
  for (auto& set : call.args.texts("set")) overrides->emplace_back(std::move(set));
  return read_job(path == "-" ? "stdin" : path, *text, *overrides, job_dir, base);
}

std::string error_line(const JobFile& job, const proto::SpecError& error) {
  if (const auto option = job.blamed.find(error.path); option != job.blamed.end()) {
    const bool named = option->second.starts_with("--set " + error.path + "=");
    return option->second + ": " + (named ? error.message : proto::to_string(error));
  }
  std::string place = job.shown;
  if (error.line > 0) place += ":" + std::to_string(error.line) + ":" + std::to_string(error.column);
  return place + ": " + proto::to_string(error);
}

bool report_errors(const JobFile& job, const Console& console) {
  for (const auto& error : job.errors) console.note(error_line(job, error));
  return job.errors.empty();
}

}  // namespace rtrain::cli
