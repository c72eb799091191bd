#include "cli/settings.h"

#include "common/os/file.h"
#include "common/os/token.h"

namespace rtrain::cli {

std::string config_path(const Getenv& getenv) {
  if (const auto given = variable(getenv, "XDG_CONFIG_HOME")) return *given + "/rtrain/config.json";
  return variable(getenv, "HOME").value_or("") + "/.config/rtrain/config.json";
}

Result<net::Endpoint> parse_head(std::string_view text) {
  constexpr std::string_view kHttp = "http://", kHttps = "https://";
  if (text.starts_with(kHttps))
    return fail(Errc::kInvalidArgument, "\"" + std::string(text) + "\": a head speaks HTTP without TLS",
                "write host:port or http://host:port");
  auto rest = text;
  if (rest.starts_with(kHttp)) {
    rest.remove_prefix(kHttp.size());
    if (rest.ends_with('/')) rest.remove_suffix(1);
  }
  return net::parse_endpoint(net::with_port(rest, kDefaultPort));
}

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
      return fail(Errc::kInvalidArgument,
                  path + ": " + key + ": unknown key" + (near.empty() ? "" : "; did you mean " + near + "?"));
    }
    if (!value.is_string()) return fail(Errc::kInvalidArgument, path + ": " + key + ": must be a string");
    *field = value.get<std::string>();
  }
  return out;
}

Result<Settings> settings(const Arguments& args, const Getenv& getenv) {
  auto out = read_config(config_path(getenv));
  if (!out) return out;
  // the agent reads RTRAIN_HEAD as well; RTRAIN_API can only mean the API
  for (const char* name : {"RTRAIN_HEAD", "RTRAIN_API"})
    if (const auto head = variable(getenv, name)) out->head = *head;
  if (const auto file = variable(getenv, "RTRAIN_TOKEN_FILE")) out->token_file = *file;
  if (const auto head = args.text("head")) out->head = *head;
  if (const auto file = args.text("token-file")) out->token_file = *file;
  return out;
}

Result<Client> client_of(const Call& call) {
  auto chosen = settings(call.args, call.getenv);
  if (!chosen) return chosen.error();
  auto endpoint = parse_head(chosen->head);
  if (!endpoint) return endpoint.error().in("head address");
  if (!chosen->token_file.empty()) {
    auto token = os::read_token_file(chosen->token_file);
    if (!token) return token.error();
    return Client(std::move(*endpoint),
                  Client::Token{std::move(*token), "rtrain presented the token of " + chosen->token_file});
  }
  const auto path = os::own_token_path(call.getenv);
  const bool on_this_machine =
      net::is_local(*endpoint) && std::holds_alternative<net::TcpEndpoint>(*endpoint);
  if (!on_this_machine)
    return Client(std::move(*endpoint),
                  Client::Token{"", "rtrain presented no token: " + path + " is for heads on this machine"});
  auto token = os::read_token_file(path);
  if (!token)
    return Client(std::move(*endpoint),
                  Client::Token{"", "rtrain presented no token: " + token.error().message()});
  return Client(std::move(*endpoint),
                Client::Token{std::move(*token), "rtrain presented the token of " + path, true});
}

Result<Get> get_of_head(const Call& call) {
  auto client = client_of(call);
  if (!client) return client.error();
  return Get([client = *client](const std::string& target) { return client.get(target); });
}

}  // namespace rtrain::cli
