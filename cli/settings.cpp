#include "cli/settings.h"

#include "common/os/file.h"

namespace rtrain::cli {

namespace {

std::string home_path(const Getenv& getenv, const char* xdg, const char* below_home) {
  if (const auto given = variable(getenv, xdg)) return *given + "/rtrain";
  return variable(getenv, "HOME").value_or("") + below_home + "/rtrain";
}

}  // namespace

std::string config_path(const Getenv& getenv) { return home_path(getenv, "XDG_CONFIG_HOME", "/.config") + "/config.json"; }
std::string state_home(const Getenv& getenv) { return home_path(getenv, "XDG_STATE_HOME", "/.local/state"); }

Result<Settings> read_config(const std::string& path) {
  Settings out;
  auto text = os::read_file(path, 1u << 20);
  if (!text) {
    if (text.error().code() == Errc::kNotFound) return out;
    return text.error();
  }
  auto json = proto::parse_json(*text);
  if (!json) return json.error().in(path);
  if (!json->is_object()) return fail(Errc::kInvalidArgument, path + ": must be a JSON object");
  for (const auto& [key, value] : json->items()) {
    std::string* field = key == "head" ? &out.head : key == "token_file" ? &out.token_file : nullptr;
    if (field == nullptr) {
      const std::string near = proto::nearest(key, {"head", "token_file"});
      return fail(Errc::kInvalidArgument, path + ": " + key + ": unknown key" + (near.empty() ? "" : "; did you mean " + near + "?"));
    }
    if (!value.is_string()) return fail(Errc::kInvalidArgument, path + ": " + key + ": must be a string");
    *field = value.get<std::string>();
  }
  return out;
}

Result<Settings> settings(const Arguments& args, const Getenv& getenv) {
  auto out = read_config(config_path(getenv));
  if (!out) return out;
  if (const auto head = variable(getenv, "RTRAIN_API")) out->head = *head;
  if (const auto file = variable(getenv, "RTRAIN_TOKEN_FILE")) out->token_file = *file;
  if (const auto head = args.text("head")) out->head = *head;
  if (const auto file = args.text("token-file")) out->token_file = *file;
  return out;
}

Result<Client> client_of(const Call& call) {
  auto chosen = settings(call.args, call.getenv);
  if (!chosen) return chosen.error();
  auto endpoint = net::parse_endpoint(chosen->head);
  if (!endpoint) return endpoint.error().in("head address");
  std::string token;
  if (!chosen->token_file.empty()) {
    auto read = os::read_token_file(chosen->token_file);
    if (!read) return read.error();
    token = *read;
  }
  return Client(std::move(*endpoint), std::move(token));
}

}  // namespace rtrain::cli
